"""Reads TensorFlow's checkpoints (``*.index`` and ``*.data-00000-of-00001``) without TensorFlow.

The index is a sorted table of LevelDB's form: blocks of keys, each stored as what differs from the key before it. Its
values are protocol buffers, of which only numbers and nested messages occur.

Source: tensorflow/core/util/tensor_bundle, tensorflow/core/protobuf/tensor_bundle.proto, and LevelDB's
``doc/table_format.md``.
Checked against: files that TensorFlow 2.21 wrote.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from roformer.errors import UserError, one_line

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48  # bytes
_TYPES = {
    1: torch.float32, 2: torch.float64, 3: torch.int32, 9: torch.int64, 14: torch.bfloat16, 19: torch.float16,
}  # fmt: skip
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies: its type's number, its shape, and bytes ``offset`` to ``offset + size`` of a shard."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    shards: int


def read_index(file: Path) -> dict[str, Entry]:
    """Returns the entries of a file ``*.index`` by the names of their variables.

    Raises:
        UserError: if it is none.
    """
    try:
        table = {key.decode(): _fields(value) for key, value in _items(file.read_bytes())}
        shards = _number(table.pop(""), 1)
        return {name: _entry(fields, shards) for name, fields in table.items()}
    except (OSError, ValueError, IndexError, KeyError, struct.error) as error:
        raise UserError(f"{file} is no index of a TensorFlow checkpoint ({one_line(error)}); copy it anew") from error


def read_tensors(index: Path, entries: dict[str, Entry]) -> dict[str, Tensor]:
    """Returns tensors by name.

    Args:
        index: the file ``*.index``, next to the data.
        entries: what to read, as ``read_index`` returned it.

    Raises:
        UserError: if data are missing, or of a type that is none of floats and whole numbers.
    """
    return {name: _read(index, name, entry) for name, entry in entries.items()}


def _read(index: Path, name: str, entry: Entry) -> Tensor:
    file = index.with_suffix(f".data-{entry.shard:05d}-of-{entry.shards:05d}")
    if entry.dtype not in _TYPES:
        raise UserError(f"{index} holds {name} as type {entry.dtype} of TensorFlow; known are {sorted(_TYPES)}")
    try:
        if file.stat().st_size < entry.offset + entry.size:
            raise ValueError("it ends too early")
        with file.open("rb") as data:
            data.seek(entry.offset)
            stored = bytearray(data.read(entry.size))
        return torch.frombuffer(stored, dtype=_TYPES[entry.dtype]).reshape(entry.shape)
    except (OSError, ValueError, RuntimeError, TypeError) as error:  # of the file, or of a damaged index
        raise UserError(f"cannot read {name} in {file} ({one_line(error)}); copy it anew") from error


def _items(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of a whole table, in order."""
    footer = table[-_FOOTER:]
    if len(table) < _FOOTER or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("it does not end as one")
    place = 0
    for _ in range(2):  # the place of a list of filters, which are not used, and its size
        _, place = _varint(footer, place)
    for _, handle in _block(table, footer[place:]):
        yield from _block(table, handle)


def _block(table: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of the block at a place, which two numbers give: offset and size."""
    offset, place = _varint(handle, 0)
    size, _ = _varint(handle, place)
    block, compression = table[offset : offset + size], table[offset + size]
    if compression:
        raise ValueError("it is compressed, as TensorFlow does not do")
    restarts = struct.unpack("<I", block[-4:])[0]
    end, place, key = len(block) - 4 * (restarts + 1), 0, b""
    while place < end:
        shared, place = _varint(block, place)
        own, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + own]
        yield key, block[place + own : place + own + length]
        place += own + length


def _entry(fields: dict[int, list[int | bytes]], shards: int) -> Entry:
    if 7 in fields:
        raise ValueError("a variable is stored in slices")
    shape = _fields(_message(fields, 2)) if 2 in fields else {}
    sizes = [_number(_fields(_message({0: [size]}, 0)), 1) for size in shape.get(2, [])]
    return Entry(
        dtype=_number(fields, 1),
        shape=tuple(sizes),
        shard=_number(fields, 3),
        offset=_number(fields, 4),
        size=_number(fields, 5),
        shards=shards,
    )


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """Returns the values of a protocol buffer by the numbers of their fields."""
    found: dict[int, list[int | bytes]] = {}
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind, value = tag & 7, 0
        if kind == _VARINT:
            value, place = _varint(message, place)
            found.setdefault(tag >> 3, []).append(value)
            continue
        if kind == _BYTES:
            length, place = _varint(message, place)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}[kind]
        found.setdefault(tag >> 3, []).append(message[place : place + length])
        place += length
    return found


def _number(fields: dict[int, list[int | bytes]], field: int) -> int:
    value = fields.get(field, [0])[-1]
    if not isinstance(value, int):
        raise ValueError(f"field {field} is no number")
    return value


def _message(fields: dict[int, list[int | bytes]], field: int) -> bytes:
    value = fields[field][-1]
    if not isinstance(value, bytes):
        raise ValueError(f"field {field} is no message")
    return value


def _varint(stored: bytes, place: int) -> tuple[int, int]:
    """Returns the number that is stored at a place, seven bits a byte, and the place after it."""
    number = shift = 0
    while True:
        byte = stored[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
