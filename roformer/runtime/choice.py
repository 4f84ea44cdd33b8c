"""A setting that was configured or measured, with the reason for its value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_WORTHWHILE = 1.2  # a smaller speedup is not worth leaving the default for


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A value and, in a few words, where it comes from."""

    value: T
    reason: str = "as configured"


def measured_choice(asked: str, default: str, other: str, speedup: Callable[[], float]) -> Choice[str]:
    """Returns what was asked for; for ``auto``, ``other`` where it is at least 1.2 times as fast as ``default``.

    Args:
        speedup: measures the seconds of ``default`` over those of ``other``; called for ``auto`` only.
    """
    if asked != "auto":
        return Choice(asked)
    measured = speedup()
    if measured >= _WORTHWHILE:
        return Choice(other, f"auto: {measured:.1f}x faster than {default}")
    return Choice(default, f"auto: {other} is only {measured:.1f}x as fast")
