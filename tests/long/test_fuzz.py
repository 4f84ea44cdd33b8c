"""A million files that somebody has damaged: read, or refused in one line."""

import json
import random
from io import BytesIO

import pyarrow
import pyarrow.parquet
import pytest

from roformer.data.sources._local_files import LocalFile
from roformer.data.sources._tables import READERS, read_rows
from roformer.errors import UserError
from roformer.runs.history import read_config
from roformer.runs.metrics import read_metrics

pytestmark = pytest.mark.long

INPUTS = 100_000  # for each of the ten readers
ROWS = [{"text": f'old owl {i}, "wise"\nand grey', "label": str(i % 3)} for i in range(4)]


def as_parquet():
    out = BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), out)
    return out.getvalue()


def as_arrow():
    out, written = BytesIO(), pyarrow.Table.from_pylist(ROWS)
    with pyarrow.ipc.new_stream(out, written.schema) as stream:
        stream.write_table(written)
    return out.getvalue()


def table(separator):
    quoted = (separator.join(f'"{value}"'.replace('"wise"', '""wise""') for value in row.values()) for row in ROWS)
    return "\n".join([separator.join(ROWS[0]), *quoted]).encode()


def text_documents(file):
    return list(LocalFile(file, (file.name,), split=None, sample_by="paragraph").text_documents())


def rows(file):
    return list(read_rows(file, ["text", "label"]))


LINES = "\n".join(map(json.dumps, ROWS)).encode()
METRICS = b"".join(b'{"step": %d, "loss": 1.5}\n' % step for step in range(1, 5))
CONFIG = b"""attention: {name: sdpa}
data: {name: text, path: a.txt}
optimizer: {name: adamw, learning_rate: 1.0e-3}
position: {name: rope, rope_theta: 10000.0}
scheduler: {name: linear}
task: {name: mlm}
trainer: {max_steps: 8}
"""
READ = {
    ".parquet": (as_parquet(), rows),
    ".jsonl": (LINES, rows),
    ".json": (json.dumps(ROWS).encode(), rows),
    ".ndjson": (LINES, rows),
    ".arrow": (as_arrow(), rows),
    ".csv": (table(","), rows),
    ".tsv": (b"text\tlabel\n" + b"".join(b'old owl %d, "wise" and grey\t%d\n' % (i, i % 3) for i in range(4)), rows),
    ".txt": ("\n\n".join(row["text"] for row in ROWS).encode(), text_documents),
    "metrics.jsonl": (METRICS, read_metrics),
    "config.yaml": (CONFIG, read_config),
}


def damaged(content, rng):
    """One to four edits: a byte changed, a part removed, doubled, or replaced."""
    edited = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(edited) + 1)
        stop = min(len(edited), start + rng.choice((0, 1, 1, 2, 20)))
        part = bytes(edited[start:stop])
        edited[start:stop] = rng.choice((b"", part * 2, rng.randbytes(len(part)), b'"', b"\n", b"\0", b"\xff", b"[{,"))
    return bytes(edited)


def test_every_reader_has_files():
    assert READERS.keys() <= READ.keys()


@pytest.mark.parametrize("name", READ)
def test_damaged_files_are_read_or_refused(tmp_path, record, name):
    """Catches an exception that no reader expects."""
    content, read = READ[name]
    file, rng, refused = tmp_path / (f"a{name}" if name.startswith(".") else name), random.Random(0), []
    for _ in range(INPUTS):
        file.write_bytes(damaged(content, rng))
        try:
            read(file)
        except UserError as error:
            refused.append(str(error))
    assert not [line for line in refused if "\n" in line]
    record(f"damaged files, {name}", inputs=INPUTS, refused=len(refused), tracebacks=0)
