"""The one exception for what a user can get wrong; entry points print it as a single line, without a traceback."""

from pathlib import Path


class UserError(ValueError):
    """A mistake in what the user gave. The message is one line: what was given, what is allowed, what to change."""


class RunTakenError(UserError):
    """Another process trains in the folder of this run. Processes that share a sweep leave it to that one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another process is training in {folder}; wait for it or stop it")
        self.folder = folder
