"""Which split the name of a file or folder stands for."""

import re
from collections.abc import Mapping

_BEGINS = re.compile(r"(?:split=)?(train|validation|valid|val|dev|test)(?:ing)?(?![a-z])", re.IGNORECASE)
_HOLDS = re.compile(r"(?<![a-z])(train|validation|valid|val|dev|test|evaluation|eval)(?:ing)?(?![a-z])", re.IGNORECASE)
_MEANS = re.compile(
    r"(train|valid|validat|val|dev|devel|develop|development|test|eval|evaluat|heldout|holdout)(ing|ion|e|set|data|split)?",
    re.IGNORECASE,
)
_WORD_OF_NAME = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")  # of "trainData", too
_WORD = re.compile(r"[^\W\d_]{3,}")  # longer than "of" or a language
_SPLITS = {"train": "train", "test": "test"}  # every other name means validation
_EVALUATION = {"eval", "evaluation"}


def split_named(name: str) -> str | None:
    """Returns the split that a file or folder name begins with ("dev-00001.csv" -> "validation"), or None."""
    match = _BEGINS.match(name)
    return _SPLITS.get(match[1].lower(), "validation") if match else None


def splits_named_inside(names: list[str]) -> dict[str, str]:
    """Returns name -> split of files in one folder where only a part of a name says it: "reviews_test.csv".

    Nothing if a file has no split, or none is for training: then the words are part of titles. ``eval`` is the test
    split, as in ``datasets``, or where another file has that name the validation split.
    """
    words = {name: match[1].lower() for name in names if (match := _HOLDS.search(name))}
    has_test = "test" in words.values()
    evaluation = "validation" if has_test else "test"
    splits = {
        name: evaluation if word in _EVALUATION else _SPLITS.get(word, "validation") for name, word in words.items()
    }
    return splits if len(words) == len(names) and "train" in splits.values() else {}


def doubtful_titles(names: Mapping[str, str | None]) -> str | None:
    """Returns which documents in one folder may have a split for their title, or None.

    Args:
        names: name -> split that was assigned.
    """
    begun = [name for name, split in names.items() if split and _BEGINS.match(name)]
    titles = [name for name in begun if _WORD.search(_BEGINS.sub("", name.split(".")[0]))]
    if len(names) < 2 or not titles:
        return None
    others = ", while files next to it have none" if None in names.values() else ""
    return (
        f"{titles[0]} {_and(len(titles) - 1)}taken for a split for the name ({names[titles[0]]}){others}; rename what "
        "is a document"
    )


def overlooked(splits: Mapping[tuple[str, ...], str | None], *, texts: bool) -> str | None:
    """Returns which files without a split may be one, or None.

    Args:
        splits: folders and name of a file -> split that was assigned.
        texts: whether the files are documents, whose names may be titles; of them only folders count.
    """
    doubted = [parts for parts, split in splits.items() if not split]
    if texts or len(doubted) == len(splits):
        doubted = [parts for parts in doubted if any(map(_means_split, parts[:-1] if texts else parts))]
    if len(splits) < 2 or not doubted:
        return None
    return (
        f"{'/'.join(doubted[0])} {_and(len(doubted) - 1)}divided like any other file; if it is a split, let its name "
        "begin with train, validation or test"
    )


def _means_split(name: str) -> bool:
    return "=" not in name and any(map(_MEANS.fullmatch, _WORD_OF_NAME.findall(name)))


def _and(more: int) -> str:
    return f"and {more:,} more are " if more else "is "
