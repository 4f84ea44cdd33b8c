"""How a function becomes an entry point."""

import logging
import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig

from roformer.cli.errors import one_line_errors
from roformer.cli.streams import protect_standard_streams
from roformer.config import CONF
from roformer.errors import UserError
from roformer.extras import naming_extras

_OVERRIDE = re.compile(r"(?P<key>[+~]*\w[\w./@-]*=)(?P<value>[^\[\]{}(),\"']+)")

_OPTIONS = (
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun",
    "--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info",
)  # fmt: skip


def command(config_name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Decorator: the function gets what Hydra composes of ``conf/<config_name>.yaml`` and the command line."""

    def decorate(function: Callable[[DictConfig], None]) -> Callable[[], None]:
        @one_line_errors  # inside Hydra, which comments on every exception that passes through it
        @wraps(function)
        def run(raw: DictConfig) -> None:
            with naming_extras():
                silence_libraries()
                function(raw)

        main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(run)
        guarded = one_line_errors(main)  # and outside, for mistakes in the configuration

        @wraps(guarded)
        def start() -> None:
            protect_standard_streams()
            one_line_errors(_arrange_arguments)()
            guarded()

        return start

    return decorate


def _arrange_arguments() -> None:
    """Puts the command line into the form that Hydra reads.

    Raises:
        UserError: for an option that Hydra does not have, and blanks around an equals sign.
    """
    arguments = sys.argv[1:]
    for argument in arguments:
        name = argument.split("=")[0]
        if name.startswith("--") and name not in _OPTIONS:
            raise UserError(
                f"no option {name}; settings are written without dashes, such as {name.lstrip('-')}=... or "
                "trainer.max_steps=30"
            )
        if argument.startswith("="):
            raise UserError(f"cannot read the argument '{argument}': write group.key=value without blanks around =")
    for place, argument in enumerate(arguments):
        name, separator, folder = argument.rpartition("=") if "=" in argument else ("", "", argument)
        is_config_path = name == "--config-path" or (place and arguments[place - 1] in ("--config-path", "-cp"))
        if is_config_path and Path(folder).is_dir():  # Hydra looks for a relative one in the package
            arguments[place] = f"{name}{separator}{Path(folder).resolve()}"
    sweep = [argument for argument in arguments if argument in ("-m", "--multirun")]  # reads it only at the beginning
    sys.argv[1:] = [*sweep, *(_quoted(argument) for argument in arguments if argument not in sweep)]


def _quoted(argument: str) -> str:
    """Returns an override with its value in quotes if Hydra cannot read it without: a path with = or an umlaut. A
    leading ~/ becomes the home folder, since shells expand it in assignments only.

    A value with commas stays as it is, since it may list the runs of a sweep, and so does one with brackets.
    """
    match = _OVERRIDE.fullmatch(argument)
    if match is None:
        return argument
    key, value = match["key"], match["value"]
    value = os.path.expanduser(value) if value.startswith("~/") else value
    try:
        OverridesParser.create().parse_override(key + value)
    except HydraException:
        return key + QuotedString(text=value, quote=Quote.double).with_quotes()
    return key + value


def silence_libraries() -> None:
    """Turns off reports and progress bars of transformers and Accelerate."""
    from transformers.utils import (
        logging as transformers_logging,
    )  # seconds of imports, which --help need not wait for

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
