"""A source with its split fractions."""

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedTokenizerFast

from roformer.data.rare_classes import TrainsOnRareClasses
from roformer.data.repeated import WithoutRepeated
from roformer.data.sources import SOURCES, Source
from roformer.data.token_store import TokenizedCorpus
from roformer.data.tokenize import tokenize_corpus
from roformer.errors import UserError
from roformer.registry import check_type


@dataclass(frozen=True)
class Corpus:
    """The documents of a source and their split.

    Attributes:
        source: yields the documents.
        fractions: ``validation_fraction`` and ``test_fraction``, for splits that the source does not assign itself.
    """

    source: Source
    fractions: dict[str, float]

    @classmethod
    def from_settings(cls, data: Mapping[str, Any]) -> "Corpus":
        """Returns the corpus that the config group ``data`` describes; downloads nothing.

        Raises:
            UserError: if a setting or a local file is missing.
        """
        names = ("validation_fraction", "test_fraction")
        if missing := [name for name in names if name not in data]:
            raise UserError(f"data.{missing[0]} needs a value, such as 0.05")
        fractions = {name: data[name] for name in names}
        source = SOURCES.build(source_settings(data))
        check_type("data.rare_classes", data.get("rare_classes"), Literal["train"] | None)
        if data.get("rare_classes"):
            source = TrainsOnRareClasses(source, fractions)
        return cls(WithoutRepeated(source, fractions) if data.get("drop_repeated") else source, fractions)

    def tokenize(self, tokenizer: PreTrainedTokenizerFast, cache_dir: Path) -> TokenizedCorpus:
        """Returns the tokens of every split, from the cache if possible."""
        return tokenize_corpus(self.source, tokenizer, cache_dir=cache_dir, **self.fractions)


def source_settings(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of the config group ``data`` that are about the source alone."""
    about_splits = ("validation_fraction", "test_fraction", "rare_classes", "drop_repeated")
    return {key: value for key, value in data.items() if key not in about_splits}


def missing_path(data: Mapping[str, Any]) -> str | None:
    """Returns the first path or pattern of ``data.path`` that leads nowhere, or None."""
    return next((path for path in _paths(data) if not _leads_somewhere(path)), None)


def moved(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Returns settings in which a relative path that leads nowhere from here is one of ``folder``, if there is one."""
    paths = [
        str(folder / path) if not _leads_somewhere(path) and _leads_somewhere(str(folder / path)) else path
        for path in _paths(data)
    ]
    if not paths:
        return dict(data)
    return {**data, "path": paths if isinstance(data["path"], list) else paths[0]}


def _paths(data: Mapping[str, Any]) -> list[str]:
    given = data.get("path") or []
    return given if isinstance(given, list) else [given]


def _leads_somewhere(path: str) -> bool:
    place = Path(path).expanduser()
    return place.exists() or bool(glob.glob(str(place), recursive=True))
