"""Tags of words: the schemes that are read, and the entities in them."""

import pytest

from roformer.data.tags import continued, entities, iob2


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-PER I-PER O B-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),  # the example of seqeval's README, reversed
        ("O O O B-MISC I-MISC I-MISC O", [(3, 6, "MISC")]),
        ("B-PER B-PER", [(0, 1, "PER"), (1, 2, "PER")]),  # neighbors
        ("I-PER I-PER O", [(0, 2, "PER")]),  # IOB1, and predictions: an entity without its first tag
        ("O I-PER B-PER", [(1, 2, "PER"), (2, 3, "PER")]),
        ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),  # another kind
        ("I-PER I-LOC I-LOC", [(0, 1, "PER"), (1, 3, "LOC")]),
        ("B-PER O I-PER", [(0, 1, "PER"), (2, 3, "PER")]),
        ("B-PER I-PER E-PER S-LOC", [(0, 3, "PER"), (3, 4, "LOC")]),  # IOBES
        ("B-PER E-PER E-PER", [(0, 2, "PER"), (2, 3, "PER")]),
        ("S-PER I-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("B-NS M-NS M-NS E-NS", [(0, 4, "NS")]),  # BMES
        ("B-PER L-PER U-LOC", [(0, 2, "PER"), (2, 3, "LOC")]),  # BILOU
        ("B-PER.NAM I-PER.NAM", [(0, 2, "PER.NAM")]),
        ("B-A-B I-A-B", [(0, 2, "A-B")]),
        ("DET NOUN NOUN", [(0, 1, "DET"), (1, 2, "NOUN"), (2, 3, "NOUN")]),  # parts of speech
        ("O O", []),
        ("", []),
    ],
)
def test_entities_are_those_of_conlleval(tags, found):
    """Catches an entity that swallows its neighbor, is cut, or is missed at the end of a sentence."""
    assert entities(tags.split()) == found


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("I-PER I-PER B-PER O I-LOC", "B-PER I-PER B-PER O B-LOC"),
        ("B-NS M-NS E-NS S-NR O", "B-NS I-NS I-NS B-NR O"),
        ("B-PER L-PER U-LOC", "B-PER I-PER B-LOC"),
        ("DET NOUN", "DET NOUN"),
        ("O O", "O O"),
    ],
)
def test_schemes_become_iob2(tags, expected):
    """Catches labels of five kinds for what two can say, whose predictions contradict each other."""
    assert iob2(tags.split()) == expected.split()
    assert entities(expected.split()) == entities(tags.split())


def test_a_tag_is_continued():
    """Catches an entity of several words that is made of one-word entities."""
    assert [continued(tag) for tag in ("B-PER", "I-PER", "O", "NOUN")] == ["I-PER", "I-PER", "O", "NOUN"]
