"""The command lines that are not Hydra's."""

import argparse
import tempfile
from pathlib import Path
from typing import NoReturn

from roformer.errors import UserError, one_line


class ArgumentParser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help lists the arguments")


def check_output(file: Path) -> None:
    """Raises ``UserError`` if nothing can be written to ``--output=<file>``; for before the work."""
    if file.exists() and not file.is_file():
        raise UserError(f"--output={file} is no file; give a file that does not exist")
    folder = next(each for each in file.absolute().parents if each.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"--output={file} cannot be written ({one_line(error)}); choose another folder") from error
