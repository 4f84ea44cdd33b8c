"""Signals that announce the end of a job ask the training to save and leave; a second one ends it at once."""

import signal
from types import FrameType
from typing import Any

# What terminals, Kubernetes, Slurm (USR1 by --signal, XCPU) and submitit (USR2) send before they kill.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))  # Windows lacks some
_OF_SCHEDULERS = tuple(number for number in SIGNALS if number.name in ("SIGUSR1", "SIGUSR2"))


class Interrupted(Exception):  # noqa: N818  # it is no error
    """An evaluation was left because of a signal."""


class StopSignal:
    """Context manager that turns the first signal into a flag.

    Attributes:
        received: the number of the signal, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def raise_if_received(self) -> None:
        """Raises ``Interrupted`` after a signal."""
        if self.received is not None:
            raise Interrupted

    def hand_over(self) -> None:
        """Calls the earlier handler of a signal of schedulers, such as submitit's, which requeues the job."""
        handler = self._previous.get(self.received or 0)
        if self.received in _OF_SCHEDULERS and callable(handler):
            handler(self.received, None)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for other, handler in self._previous.items():
            signal.signal(other, handler)
