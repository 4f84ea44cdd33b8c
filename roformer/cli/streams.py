"""Standard output and error that cannot end a training: a full disk, a closed pipe, a terminal without Unicode."""

import sys
from contextlib import suppress
from typing import Any, TextIO


class PatientStream:
    """Passes everything on to a stream, and goes on in silence where that fails.

    Args:
        stream: that may break at any time.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # ValueError: it has been closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def protect_standard_streams() -> None:
    """Puts patient streams in place of those of the process; what their encoding lacks is written as an escape."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, PatientStream):  # None: without a terminal, as under pythonw
            continue
        with suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, PatientStream(stream))
