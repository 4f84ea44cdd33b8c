"""Experiment trackers, one file each. The file's name is the name in ``conf/tracker/``."""

from importlib import import_module
from pkgutil import iter_modules

from roformer.trackers._base import TRACKERS, Tracker

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["TRACKERS", "Tracker"]
