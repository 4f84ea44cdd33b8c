"""Order and distance of two words among fillers."""

import numpy as np

from roformer.data.sources._base import SOURCES
from roformer.data.sources._synthetic import FILLERS, LabeledWords, SyntheticSource


@SOURCES.register("order")
class OrderSource(SyntheticSource):
    """Which of two words comes first, and are they near each other? Four labels."""

    cell = "distance of the two words"
    shortest = 32
    near = 16
    """Largest distance that counts as near, in words."""

    def example(self, rng: np.random.Generator, length: int, place: float | None = None) -> LabeledWords:
        farthest = length - 1
        if place is not None:
            distance = 1 + int(place * farthest)
        elif rng.random() < 0.5:
            distance = int(rng.integers(1, self.near + 1))
        else:
            distance = int(rng.integers(self.near + 1, farthest + 1))
        words = [FILLERS[i] for i in rng.integers(len(FILLERS), size=length)]
        first = int(rng.integers(length - distance))
        names = ["alpha", "omega"] if rng.random() < 0.5 else ["omega", "alpha"]
        words[first], words[first + distance] = names
        return words, f"{names[0]} first, {'near' if distance <= self.near else 'far'}"
