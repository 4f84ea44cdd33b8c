"""Content-addressed folders: a key for what is in one, and an atomic way to make it."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def content_key(*parts: object) -> str:
    """Returns 20 hexadecimal digits that name ``parts`` (anything JSON can hold; the order of keys is ignored)."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


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
