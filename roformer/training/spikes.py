"""Loss spikes: a loss far above those of the lines before it."""

from collections import deque
from collections.abc import Iterable
from statistics import median

_WINDOW, _KNOWN = 50, 10  # lines
_DEVIATIONS = 6.0
_LEAST = 0.1  # nats, and share of the median: losses near 0 scatter little
_NORMAL = 1.4826  # standard deviations in a median absolute deviation, of a normal distribution


class LossBand:
    """A band around the median of recent losses, as wide as they scatter; outliers do not widen it.

    Args:
        losses: logged so far.
    """

    def __init__(self, losses: Iterable[float]) -> None:
        self._losses = deque(losses, maxlen=_WINDOW)

    def excess(self, loss: float) -> float | None:
        """Notes a loss; returns the median before it where it lies above the band, else None."""
        known = list(self._losses)
        self._losses.append(loss)
        if len(known) < _KNOWN:
            return None
        center = median(known)
        deviation = _NORMAL * median(abs(each - center) for each in known)
        return center if loss > center + max(_DEVIATIONS * deviation, _LEAST * center, _LEAST) else None
