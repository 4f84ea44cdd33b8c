"""Signs of life of several processes: one that is stopped, or whose machine is gone, gives none."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

_SECONDS = 2.0
_SILENT = 5 * _SECONDS


class Heartbeat:
    """Signs of life of all processes of a run.

    Args:
        files: of each process one, by rank, on a disk that they share.
        rank: of this process.
    """

    def __init__(self, files: Sequence[Path], rank: int) -> None:
        self.rank, self._files = rank, files

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Gives a sign of life every two seconds, in the background, and removes it at the end."""
        if len(self._files) == 1:
            yield
            return
        over = Event()

        def beat() -> None:
            while not over.wait(_SECONDS):
                with suppress(OSError):
                    self._files[self.rank].touch()

        with suppress(OSError):
            self._files[self.rank].touch()
        Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            over.set()
            with suppress(OSError):
                self._files[self.rank].unlink(missing_ok=True)

    def silent(self) -> list[int]:
        """Returns the ranks of the processes that have given no sign of life for ten seconds."""
        return [rank for rank, file in enumerate(self._files) if _age(file) > _SILENT]


def _age(file: Path) -> float:
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return 0.0  # it has ended, which is not hanging
