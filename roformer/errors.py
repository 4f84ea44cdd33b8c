"""The one exception for what a user can get wrong; entry points print it as a single line, without a traceback."""

from pathlib import Path


class UserError(ValueError):
    """A mistake in what the user gave. The message is one line: what was given, what is allowed, what to change.

    Attributes:
        is_said_once: whether, of several processes, only one raises it. Otherwise the first of each machine says it.
    """

    is_said_once = False


def one_line(error: BaseException) -> str:
    """Returns the first line of what an exception says, or its name where it says nothing."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__


_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "Cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception, of Python or of torch, says that there is no memory left."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


class RunTakenError(UserError):
    """Another process trains in the folder of this run. Processes that share a sweep leave it to that one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another process is training in {folder}; wait for it or stop it")
        self.folder = folder
