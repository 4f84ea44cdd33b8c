"""Tags of words: the schemes that mark entities, and the entities that they mark.

Source: Ramshaw and Marcus 1995 (IOB); Tjong Kim Sang and De Meulder 2003, arXiv:cs/0306050 (CoNLL-2003).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

OUTSIDE = "O"
"""The tag of a word in no entity."""
_SCHEME = re.compile(r"(?P<prefix>[BIEMLSU])-(?P<kind>.+)")
_SAME = {"M": "I", "L": "E", "U": "S"}  # letters of BMES and BILOU -> those of IOBES


class Entity(NamedTuple):
    """Words of a sentence, from number ``start`` to before ``end``, that name something of this kind."""

    start: int
    end: int
    kind: str


def entities(tags: Sequence[str]) -> list[Entity]:
    """Returns the entities of a sentence, by the rules of conlleval: IOB1, IOB2, IOBES, BMES and BILOU are read, and
    an entity may lack its first tag.

    A tag that is of no scheme, such as a part of speech, is an entity of one word.

    Args:
        tags: one for each word.
    """
    found, start, before = list[Entity](), 0, (OUTSIDE, "")
    for place, (prefix, kind) in enumerate([*map(_parts, tags), (OUTSIDE, "")]):
        other = kind != before[1]
        if before[0] != OUTSIDE and (before[0] in "ES" or prefix in "BSO" or other):
            found.append(Entity(start, place, before[1]))
        if prefix != OUTSIDE and (prefix in "BS" or before[0] in "ESO" or other):
            start = place
        before = prefix, kind
    return found


def iob2(tags: Sequence[str]) -> list[str]:
    """Returns the tags of the same entities in the scheme IOB2; tags without a scheme as they are."""
    if not any(map(_SCHEME.fullmatch, tags)):
        return list(tags)
    found = [OUTSIDE] * len(tags)
    for start, end, kind in entities(tags):
        found[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return found


def continued(tag: str) -> str:
    """Returns the tag of the next word in the same entity: "I-PER" after "B-PER"."""
    return re.sub(r"^B-", "I-", tag)


def _parts(tag: str) -> tuple[str, str]:
    """Returns the letter of a tag in IOBES, and the kind of entity."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    if match := _SCHEME.fullmatch(tag):
        return _SAME.get(match["prefix"], match["prefix"]), match["kind"]
    return "S", tag
