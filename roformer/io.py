"""What is put in place whole or not at all: files and folders."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Lets ``write`` fill a temporary folder, then puts it in place of ``folder``; a crash leaves no half of it."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write(temporary)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(temporary, folder)


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Writes a file whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, file)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty sibling of ``folder`` to fill, which becomes ``folder`` when the block ends without an error.

    Where another process has made ``folder`` meanwhile, that one stays and ours is discarded: the name tells the
    content, so both hold the same.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        yield draft
        try:
            os.replace(draft, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
