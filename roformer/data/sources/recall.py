"""Associative recall: which value follows the given key?"""

from collections import Counter

import numpy as np

from roformer.data.sources._base import SOURCES
from roformer.data.sources._synthetic import FILLERS, LabeledWords, SyntheticSource
from roformer.errors import UserError


@SOURCES.register("recall")
class RecallSource(SyntheticSource):
    """Documents start with a key, and the label is the value that follows this key later on.

    All values occur in the document whatever its order, so a model without positions can only choose one at random.

    Args:
        length, documents, seed: as in ``SyntheticSource``.
        pairs: number of values in a document of any length: one follows the key; the others follow other keys, or
            filler words if there are not enough keys.
        keys: number of different keys. With 1 the model only has to find the key; with more it has to match keys.

    Raises:
        UserError: if a number is out of range.
    """

    cache_version = 2
    cell = "place of the pair in the document"
    baseline_name = "most frequent value of the document"
    shortest = 8
    values = 16

    def __init__(self, *, length: int, documents: int, seed: int, pairs: int, keys: int) -> None:
        super().__init__(length=length, documents=documents, seed=seed)
        if not 2 <= pairs <= (length - 2) // 2:
            raise UserError(f"data=recall: pairs must lie between 2 and {(length - 2) // 2}, got {pairs}")
        if keys < 1:
            raise UserError(f"data=recall needs keys >= 1, got {keys}")
        self.pairs, self.keys = pairs, keys

    def example(self, rng: np.random.Generator, length: int, place: float | None = None) -> LabeledWords:
        keys = rng.permutation(self.keys)
        values = rng.choice(self.values, self.pairs)
        before = [f"key{key}" for key in keys[1 : self.pairs]]
        before += [FILLERS[i] for i in rng.integers(len(FILLERS), size=self.pairs - 1 - len(before))]
        units = [[word, f"value{value}"] for word, value in zip(before, values[1:], strict=True)]
        units += [[FILLERS[i]] for i in rng.integers(len(FILLERS), size=length - 2 - 2 * self.pairs)]
        units = [units[i] for i in rng.permutation(len(units))]
        place = rng.random() if place is None else place
        units.insert(int(place * (len(units) + 1)), [f"key{keys[0]}", f"value{values[0]}"])
        return ["find", f"key{keys[0]}", *(word for unit in units for word in unit)], f"value{values[0]}"

    def baseline_label(self, words: list[str]) -> str:
        counts = Counter(word for word in words if word.startswith("value"))
        return max(counts, key=lambda word: (counts[word], word))
