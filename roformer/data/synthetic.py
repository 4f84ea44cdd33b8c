"""Documents that the project makes itself, whose label cannot be told without positions. A word is a token.

Three tasks for ``task=classification``: ``recall`` (the value that stands behind a key), ``order`` (which of two words
comes first, and how far apart) and ``listops`` (Nangia and Bowman 2018, arXiv:1804.06028: nested operations on
digits; written anew, brackets kept).
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeAlias

import numpy as np

from roformer.data._base import SOURCES, Document, Source
from roformer.data.cache import content_key
from roformer.data.packing import SPECIAL_TOKENS
from roformer.errors import UserError

Example: TypeAlias = tuple[list[str], str]
"""Words and label of a document."""

_FILLERS = [f"word{number}" for number in range(64)]


class SyntheticSource(Source):
    """Makes documents one by one, each from its number and the seed alone.

    Args:
        length: words of a document, at the most.
        documents: how many there are.
        seed: of all that is drawn.

    Raises:
        UserError: if a number is out of range.
    """

    format: ClassVar[int] = 1
    """Rises whenever the same settings would give other documents."""

    cell: ClassVar[str | None] = None
    """What ``place`` sets in a document, for the axis of a heat map; None where there is nothing to set."""

    guess: ClassVar[str | None] = None
    """What ``best_guess`` goes by; None where there is no such guess."""

    shortest: ClassVar[int]
    """Words that a document needs."""

    def __init__(self, *, length: int, documents: int, seed: int) -> None:
        if length < self.shortest or documents < 1 or seed < 0:
            raise UserError(
                f"data={self._name} needs a length of at least {self.shortest}, documents of at least 1 and a seed of "
                f"at least 0, got {length}, {documents} and {seed}"
            )
        self.length, self.count, self.seed = length, documents, seed

    @classmethod
    def check(cls, data: dict[str, Any], task: dict[str, Any]) -> None:
        """Refuses to cut documents, since the answer may lie in what is cut."""
        needed = data["length"] + SPECIAL_TOKENS
        if task.get("max_length", needed) < needed:
            raise UserError(
                f"task.max_length={task['max_length']} cuts documents of data.length={data['length']} words, and with "
                f"them the answer; it needs {needed}"
            )

    @property
    def _name(self) -> str:
        return type(self).__name__.removesuffix("Source").lower()

    def fingerprint(self) -> str:
        settings = sorted((key, value) for key, value in vars(self).items() if not key.startswith("_"))
        return content_key(self._name, self.format, settings)

    def documents(self) -> Iterator[Document]:
        for number in range(self.count):
            words, label = self.example(np.random.default_rng([self.seed, number]), self.length)
            yield Document(" ".join(words), label=label)

    @abstractmethod
    def example(self, rng: np.random.Generator, length: int, place: float | None = None) -> Example:
        """Returns the words of a document of at most ``length`` words, and its label.

        Args:
            rng: draws all of it.
            length: also beyond the one that ``documents`` has.
            place: what ``cell`` says, as a share in [0, 1) of the greatest that is possible; drawn where None.
        """

    def best_guess(self, words: list[str]) -> str:
        """Returns a label for one who sees the words but not their order: the same in any order."""
        raise NotImplementedError


@SOURCES.register("recall")
class RecallSource(SyntheticSource):
    """Which value stands behind the key that the document begins with? Pairs of keys and values lie among words.

    The values are all there whatever the order of the words, so that a model without positions has to guess among
    them.

    Args:
        length, documents, seed: as ever.
        pairs: values in a document, whatever its length: one behind the key, the others behind other keys, or any
            words once these run out.
        keys: how many there are. With 1 it is enough to know a key and what stands behind it; with more, a value has
            to be told from those behind other keys.
    """

    format = 2
    cell = "place of the pair in the document"
    guess = "most frequent value of the document"
    shortest = 8
    values = 16

    def __init__(self, *, length: int, documents: int, seed: int, pairs: int, keys: int) -> None:
        super().__init__(length=length, documents=documents, seed=seed)
        if not 2 <= pairs <= (length - 2) // 2:
            raise UserError(f"data=recall: pairs must lie between 2 and {(length - 2) // 2}, got {pairs}")
        if keys < 1:
            raise UserError(f"data=recall needs keys of at least 1, got {keys}")
        self.pairs, self.keys = pairs, keys

    def example(self, rng: np.random.Generator, length: int, place: float | None = None) -> Example:
        keys = rng.permutation(self.keys)
        values = rng.choice(self.values, self.pairs)
        before = [f"key{key}" for key in keys[1 : self.pairs]]
        before += [_FILLERS[i] for i in rng.integers(len(_FILLERS), size=self.pairs - 1 - len(before))]
        units = [[word, f"value{value}"] for word, value in zip(before, values[1:], strict=True)]
        units += [[_FILLERS[i]] for i in rng.integers(len(_FILLERS), size=length - 2 - 2 * self.pairs)]
        units = [units[i] for i in rng.permutation(len(units))]
        place = rng.random() if place is None else place
        units.insert(int(place * (len(units) + 1)), [f"key{keys[0]}", f"value{values[0]}"])
        return ["find", f"key{keys[0]}", *(word for unit in units for word in unit)], f"value{values[0]}"

    def best_guess(self, words: list[str]) -> str:
        counts = Counter(word for word in words if word.startswith("value"))
        return max(counts, key=lambda word: (counts[word], word))


@SOURCES.register("order")
class OrderSource(SyntheticSource):
    """Which of two words comes first, and are they near each other? Four labels."""

    cell = "distance of the two words"
    shortest = 32
    near = 16
    """Words, the greatest distance that is called near."""

    def example(self, rng: np.random.Generator, length: int, place: float | None = None) -> Example:
        farthest = length - 1
        if place is not None:
            distance = 1 + int(place * farthest)
        elif rng.random() < 0.5:
            distance = int(rng.integers(1, self.near + 1))
        else:
            distance = int(rng.integers(self.near + 1, farthest + 1))
        words = [_FILLERS[i] for i in rng.integers(len(_FILLERS), size=length)]
        first = int(rng.integers(length - distance))
        names = ["alpha", "omega"] if rng.random() < 0.5 else ["omega", "alpha"]
        words[first], words[first + distance] = names
        return words, f"{names[0]} first, {'near' if distance <= self.near else 'far'}"


@SOURCES.register("listops")
class ListopsSource(SyntheticSource):
    """What is [ MAX 4 [ MIN 2 7 ] 0 ]? Maximum, minimum, median (the lower of two) and sum modulo 10.

    Lengths are spread between a quarter of ``length`` and all of it, and are nearly reached: an argument is another
    operation wherever one has room, but for a quarter of them. Longer documents nest deeper.

    Args:
        length, documents, seed: as ever.
        arguments: of an operation, at the most.
    """

    format = 2
    shortest = 20
    operations: ClassVar[dict[str, Callable[[list[int]], int]]] = {
        "MAX": max,
        "MIN": min,
        "MED": lambda numbers: sorted(numbers)[(len(numbers) - 1) // 2],
        "SUM": lambda numbers: sum(numbers) % 10,
    }

    def __init__(self, *, length: int, documents: int, seed: int, arguments: int) -> None:
        super().__init__(length=length, documents=documents, seed=seed)
        if arguments < 2:
            raise UserError(f"data=listops needs arguments of at least 2, got {arguments}")
        self.arguments = arguments

    def example(self, rng: np.random.Generator, length: int, place: float | None = None) -> Example:
        words, value = self._expression(rng, int(rng.integers(length // 4, length + 1)))
        return words, str(value)

    def _expression(self, rng: np.random.Generator, room: int) -> tuple[list[str], int]:
        """Returns an operation of at most ``room`` words, 5 or more, and its value."""
        name = list(self.operations)[rng.integers(len(self.operations))]
        count = int(rng.integers(2, min(self.arguments, room - 3) + 1))
        words, values = ["[", name], []
        rest = room - 3
        for left in range(count, 0, -1):
            share = rest // left  # what an argument leaves, the others have
            if share >= 5 and rng.random() < 0.75:
                inner, value = self._expression(rng, share)
            else:
                value = int(rng.integers(10))
                inner = [str(value)]
            words += inner
            rest -= len(inner)
            values.append(value)
        return [*words, "]"], self.operations[name](values)
