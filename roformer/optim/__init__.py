"""Optimizers, one file each. The file's name is the name in ``conf/optimizer/``; schedules are in ``schedules/``."""

from importlib import import_module
from pkgutil import iter_modules

from roformer.optim._base import OPTIMIZERS, OptimizerBuilder

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["OPTIMIZERS", "OptimizerBuilder"]
