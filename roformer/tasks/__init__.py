"""What a model is trained to do, one file each. The file's name is the name in ``conf/task/``."""

from importlib import import_module
from pkgutil import iter_modules

from roformer.tasks._base import TASKS, Batch, Task

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["TASKS", "Batch", "Task"]
