"""What can be measured on a finished run, one file each. The file's name is the name in the results files."""

from importlib import import_module
from pkgutil import iter_modules

from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["EVALUATORS", "Evaluator", "LoadedRun"]
