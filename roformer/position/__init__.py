"""Position encodings, one file each. The file's name is the name in ``conf/position/`` and in ``config.json``."""

from importlib import import_module
from pkgutil import iter_modules

from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState

for _module in iter_modules(__path__):  # every file registers itself: adding an encoding touches no other file
    import_module(f"{__name__}.{_module.name}")

__all__ = ["POSITION_ENCODINGS", "ModelShape", "PositionEncoding", "PositionState"]
