"""The one writer of files and folders that readers see whole or not at all."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields an empty draft next to ``folder``, which becomes ``folder`` when the block ends without an error.

    Args:
        folder: what is written.
        replace: take the place of an existing folder; for writers that hold a lock. Otherwise a folder that another
            process has made in the meantime stays and the draft is discarded; for names that depend on the content.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if replace:
        for leftover in folder.parent.glob(f".{folder.name}.draft-*"):  # of a process that was killed
            shutil.rmtree(leftover)
    draft = folder.with_name(f".{folder.name}.draft-{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        yield draft
        if replace and folder.exists():
            shutil.rmtree(folder)
        try:
            os.replace(draft, folder)
        except OSError:
            if replace or not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_text(file: Path, text: str) -> None:
    """Writes a file whole or not at all, and its folder where it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, file)


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(file, json.dumps(content, indent=1) + "\n")
