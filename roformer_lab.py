"""The console commands. They lie outside the package ``roformer``, whose import name another project on PyPI has, too:
where both are installed, one has overwritten files of the other."""

import sys
from importlib import import_module
from importlib.util import find_spec


def train() -> None:
    """``roformer-train``, and ``train.py`` of a checkout."""
    _run("roformer.cli.train")


def evaluate() -> None:
    """``roformer-evaluate``, and ``evaluate.py`` of a checkout."""
    _run("roformer.cli.evaluate")


def describe() -> None:
    """``roformer-describe``."""
    _run("roformer.cli.describe")


def predict() -> None:
    """``roformer-predict``."""
    _run("roformer.predict.__main__")


def _run(module: str) -> None:
    if not _is_ours():
        spec = find_spec("roformer")
        folders = list(spec.submodule_search_locations or ()) if spec else []
        sys.exit(
            f"error: {folders[0] if folders else 'the package roformer'} is not that of roformer-lab: another package "
            "of that name was installed or removed; run: pip uninstall roformer roformer-lab && "
            "pip install roformer-lab"
        )
    import_module(module).main()


def _is_ours() -> bool:
    try:
        return "RoFormerLabConfig" in import_module("roformer").__all__
    except (ImportError, AttributeError):
        return False
