"""Words and the tokens that they are made of: from tags of words to labels of tokens, and back."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from roformer.data.tags import OUTSIDE, continued
from roformer.ops.cross_entropy import IGNORE_INDEX

NO_TOKEN = -1


def tokens_of_words(places: NDArray[np.integer], words: NDArray[np.integer]) -> NDArray[np.int64]:
    """Returns the (words, 2) number of the first token with a character of each word, and of the first one after it;
    ``NO_TOKEN`` twice where no token has any.

    Args:
        places: (tokens, 2) start and exclusive end of each token of a text, in characters.
        words: (words, 2) likewise, of the words.
    """
    first = np.searchsorted(places[:, 1], words[:, 0], side="right")
    begins = np.append(places[:, 0], np.iinfo(np.int32).max)[first]  # a word may come after the last token
    after = np.searchsorted(places[:, 0], words[:, 1], side="left")
    return np.where((begins < words[:, 1])[:, None], np.stack([first, after], axis=1), NO_TOKEN)


def with_continuing(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the tags, and after them those that continue one and are no tag of the data: an entity of one word may
    have several tokens."""
    return tuple(dict.fromkeys([*names, *map(continued, names)]))


def token_labels(
    tokens: int, of_words: NDArray[np.int64], tags: NDArray[np.int64], names: Sequence[str]
) -> NDArray[np.int64]:
    """Returns the (tokens,) labels of tokens; ``IGNORE_INDEX`` in no word.

    The first token of a word has its tag, the others the one that continues it. A token in several words has the tag
    of the first of them in an entity.

    Args:
        tokens: their number.
        of_words: as ``tokens_of_words`` returns them.
        tags: (words,) tags of the words, as indices into ``names``.
        names: of the tags, with those that continue them.
    """
    labels = np.full(tokens, IGNORE_INDEX, dtype=np.int64)
    has_token = of_words[:, 0] != NO_TOKEN
    of_words, tags = of_words[has_token], tags[has_token]
    for (first, after), tag in zip(of_words.tolist(), _following(names)[tags].tolist(), strict=True):
        labels[first + 1 : after] = tag
    in_entity = np.array([name != OUTSIDE for name in names])[tags]
    for chosen in (~in_entity, in_entity):  # entities win, and of these the first word
        words = np.flatnonzero(chosen)[::-1]
        labels[of_words[words, 0]] = tags[words]
    return labels


def word_tags(token_tags: NDArray[np.int64], first: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int64]:
    """Returns the (words,) tags that the tags of tokens mean: those of their first tokens. Where a token has several
    words, the tag of the first of them is continued.

    Args:
        token_tags: (tokens,) as indices into ``names``.
        first: (words,) number of the first token of each word, in their order.
        names: of the tags, with those that continue them.
    """
    found = token_tags[first]
    shared = np.diff(first, prepend=-2) == 0
    found[shared] = _following(names)[found[shared]]
    return found


def _following(names: Sequence[str]) -> NDArray[np.int64]:
    """Returns for each tag the one that continues it."""
    return np.array([names.index(continued(name)) for name in names])
