"""SIGINT and SIGTERM ask the loop to stop after the step at hand; a second one stops at once."""

import signal
from types import FrameType
from typing import Any


class StopSignal:
    """Context manager that turns the first signal into a flag.

    Attributes:
        received: the number of the signal, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for other, handler in self._previous.items():
            signal.signal(other, handler)
