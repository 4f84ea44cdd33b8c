"""The one writer of files and folders, which are whole on disk or not there, and the one reader that checks them.

A folder gets a list of digests, ``SHA256SUMS``, in the format of ``sha256sum --check``. Files and folders are synced
before and after they are put in place, so that a power cut leaves either what was there before or all of what is new.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

DIGESTS = "SHA256SUMS"


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty draft next to ``folder``, which takes its place when the block ends without an error.

    Only for a caller that holds a lock: drafts that killed processes have left are removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for leftover in folder.parent.glob(f".{folder.name}.draft-*"):
        shutil.rmtree(leftover)
    draft = folder.with_name(f".{folder.name}.draft-{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        yield draft
        _seal(draft)
        _remove(folder)
        os.replace(draft, folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def cached_folder(folder: Path) -> Iterator[Path | None]:
    """Yields None where ``folder`` is whole, else an empty draft that becomes it when the block ends without an error.

    Processes that need the same folder wait for the one that makes it. A damaged one is made again.
    """
    if damage(folder) is None:
        yield None
        return
    locks = folder.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / folder.name):
        found = damage(folder)
        if found is None:
            yield None
            return
        if folder.exists():
            print(f"making {folder} again: {found}", flush=True)
        with atomic_folder(folder) as draft:
            yield draft


def damage(folder: Path) -> str | None:
    """Says what is wrong with a folder that ``atomic_folder`` wrote, such as "model.safetensors is missing".

    Returns:
        None if every file is there with the content that was written.
    """
    try:
        lines = (folder / DIGESTS).read_text(encoding="utf-8").splitlines()
        recorded = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except FileNotFoundError:
        return f"{DIGESTS} is missing" if folder.is_dir() else "it is no folder"
    except (OSError, ValueError):
        return f"{DIGESTS} cannot be read"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if unknown := [name for name in sorted(there - recorded.keys()) if not _may_change(name)]:
        return f"{unknown[0]} is not in {DIGESTS}"
    for name, digest in recorded.items():
        try:
            if file_digest(folder / name) != digest:
                return f"{name} has changed since it was written"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


def _may_change(name: str) -> bool:
    """Returns whether a file may be added or changed: the digests, what hubs, editors and ``roformer.export`` write, a
    model's card."""
    return name == DIGESTS or name.startswith((".", "README", "model.onnx", "model.gguf"))


def has_digests(folder: Path) -> bool:
    """Returns whether ``damage`` can check a folder: not one of version 0.1, or of another program."""
    return (folder / DIGESTS).exists()


@contextmanager
def atomic_file(file: Path) -> Iterator[Path]:
    """Yields the path of a draft next to ``file``, which takes its place when the block ends without an error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.draft-{secrets.token_hex(4)}")
    try:
        yield draft
        _sync(draft)
        os.replace(draft, file)
        _sync(file.parent)
    finally:
        draft.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Writes a file whole or not at all, and its folder where it is missing."""
    with atomic_file(file) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file whole or not at all.

    Raises:
        ValueError: for a number that JSON does not have, which is our own mistake.
    """
    write_text(file, json.dumps(content, indent=1, allow_nan=False) + "\n")


def append_line(file: Path, line: str) -> None:
    """Appends one line, which is on disk when this returns; completes a line before it that a crash cut short."""
    with file.open("a+b") as out:
        if out.tell():
            out.seek(-1, os.SEEK_END)
            line = line if out.read() == b"\n" else f"\n{line}"
        out.write(f"{line}\n".encode())
        out.flush()
        os.fsync(out.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _seal(folder: Path) -> None:
    """Writes the digests of all files and syncs everything; libraries write some files for their owner alone, and
    these get the permissions that the umask gives."""
    mode = folder.stat().st_mode & 0o666
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for file in files:
        file.chmod(mode)
    names = {file.relative_to(folder).as_posix(): file for file in files}
    lines = [f"{file_digest(file)}  {name}\n" for name, file in names.items() if not _may_change(name)]
    digests = folder / DIGESTS
    digests.write_text("".join(lines), encoding="utf-8")
    for path in (*files, digests, *(path for path in folder.rglob("*") if path.is_dir()), folder):
        _sync(path)


def file_digest(file: Path) -> str:
    """Returns 64 hexadecimal digits that name the content of a file."""
    found = hashlib.sha256()
    with file.open("rb", buffering=0) as content:
        while part := content.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def _sync(path: Path) -> None:
    """Waits until a file, or the list of names in a folder, is on disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot sync a folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
