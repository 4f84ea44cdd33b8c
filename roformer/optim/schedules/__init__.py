"""Learning-rate schedules, one file each. The file's name is the name in ``conf/scheduler/``."""

from importlib import import_module
from pkgutil import iter_modules

from roformer.optim.schedules._base import SCHEDULES, Schedule

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["SCHEDULES", "Schedule"]
