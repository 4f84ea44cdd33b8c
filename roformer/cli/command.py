"""How a function becomes an entry point."""

import logging
from collections.abc import Callable
from functools import wraps

import hydra
from omegaconf import DictConfig

from roformer.cli.errors import one_line_errors
from roformer.cli.streams import protect_standard_streams
from roformer.config import CONF
from roformer.extras import naming_extras


def command(config_name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Decorator: the function gets what Hydra composes of ``conf/<config_name>.yaml`` and the command line."""

    def decorate(function: Callable[[DictConfig], None]) -> Callable[[], None]:
        @one_line_errors  # inside Hydra, which comments on every exception that passes through it
        @wraps(function)
        def run(raw: DictConfig) -> None:
            with naming_extras():
                _silence_libraries()
                function(raw)

        main = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(run)
        guarded = one_line_errors(main)  # and outside, for mistakes in the configuration

        @wraps(guarded)
        def start() -> None:
            protect_standard_streams()
            guarded()

        return start

    return decorate


def _silence_libraries() -> None:
    """Turns off reports and progress bars of transformers and Accelerate."""
    from transformers.utils import (
        logging as transformers_logging,
    )  # seconds of imports, which --help need not wait for

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
