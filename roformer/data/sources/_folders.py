"""Lists the files below a folder; links are followed, hidden files and those of runs are not listed."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from roformer.errors import UserError

Parts = tuple[str, ...]
_NOT_FINISHED = {"_temporary", "__MACOSX"}  # of Spark and Hadoop; and what macOS adds to archives
_RUN = {"config.yaml"}
_RUN_THAT_BEGAN = {".lock", "provenance.json", "export"}
_CACHE = re.compile(r"(tokens|tokenizer)-[0-9a-f]{20}")


@dataclass
class Listing:
    """What lies below a folder: the parts of each file's path, sorted.

    Attributes:
        files: to read.
        hidden: files whose name, or that of a folder of theirs, begins with a dot; and those of unfinished writers.
        broken: links that lead nowhere.
    """

    files: list[Parts] = field(default_factory=list)
    hidden: list[Parts] = field(default_factory=list)
    broken: int = 0


def list_folder(root: Path) -> Listing:
    """Lists a folder, without the runs, reports and caches of this package in it.

    Raises:
        UserError: if a folder cannot be read; its documents would be missing.
    """
    listing = Listing()
    for file in sorted(_walk(root), key=lambda file: file.parts):
        parts = file.relative_to(root).parts
        if file.is_file():
            (listing.hidden if _is_hidden(parts) else listing.files).append(parts)
        elif file.is_symlink() and not _is_hidden(parts):
            listing.broken += 1
    return listing


def _is_hidden(parts: Parts) -> bool:
    return any(part.startswith(".") or part in _NOT_FINISHED for part in parts)


def _walk(root: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        if not _is_hidden(Path(error.filename).relative_to(root).parts):
            raise UserError(f"cannot read the folder {error.filename}: {error.strerror}; change its permissions")

    top = root.resolve()
    linked = {top}  # no link is followed twice, and none back into the corpus
    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        chosen = []
        for name in sorted(folders):
            place = Path(folder, name)
            if place.is_symlink():
                target = place.resolve()
                if target in linked or target.is_relative_to(top):
                    continue
                linked.add(target)
            if not _is_of_this_package(place):
                chosen.append(name)
        folders[:] = chosen
        yield from (Path(folder, name) for name in names)


def _is_of_this_package(folder: Path) -> bool:
    """Whether this is the cache, the folder of a run, or of results: training within a corpus writes them there."""
    if _CACHE.fullmatch(folder.name) or os.path.isfile(folder / "report" / "comparison.json"):
        return True
    try:
        names = set(os.listdir(folder))
    except OSError:  # the walk reports it
        return False
    return names >= _RUN and not names.isdisjoint(_RUN_THAT_BEGAN)
