"""Optional packages, and the extra of roformer-lab that installs each."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from roformer.errors import UserError

EXTRA_OF = {
    "datasets": "hub",
    "datasketch": "copies",
    "jinja2": "report",
    "matplotlib": "report",
    "gguf": "gguf",
    "h5py": "keras",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "pyarrow": "tables",
    "rjieba": "chinese",
    "sacrebleu": "translation",
    "scipy": "report",
    "sklearn": "report",
    "statsmodels": "report",
    "tensorboard": "tracking",
    "torchao": "neighbors",
    "torchmetrics": "questions",
    "trackio": "trackio",
    "wandb": "tracking",
}
"""Import name -> extra, as in pyproject.toml."""


def require(package: str, purpose: str, *, otherwise: str = "") -> None:
    """Checks for an optional package before any work is done that needs it.

    Args:
        package: an import name of ``EXTRA_OF``.
        purpose: the setting that needs the package, such as ``tracker=wandb``.
        otherwise: a setting that does not need it.

    Raises:
        UserError: if the package is not installed.
    """
    if find_spec(package) is None:
        raise UserError(_missing(package, purpose) + (f", or choose {otherwise}" if otherwise else ""))


@contextmanager
def naming_extras() -> Iterator[None]:
    """Turns a failed import of an optional package into a ``UserError`` that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA_OF:
            raise
        raise UserError(_missing(package, "this command")) from error


def _missing(package: str, purpose: str) -> str:
    source = f"'roformer-lab[{EXTRA_OF[package]}]'" if package in EXTRA_OF else package
    return f"{purpose} needs the package {package}: pip install {source}"
