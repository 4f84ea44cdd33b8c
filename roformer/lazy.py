"""Imports that wait until somebody needs them."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Returns a ``__getattr__`` for a package, which imports a public name's module when the name is first read.

    Args:
        package: the ``__name__`` of the package.
        homes: public name -> full name of the module that defines it.
    """

    def getattribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)  # the next access is an ordinary one
        return value

    return getattribute


def after_import(module: str, action: Callable[[], object]) -> None:
    """Calls ``action`` once ``module`` has been imported: at once if it has been already.

    Args:
        module: full name of a module of another package.
        action: has to bear being called again, if the first import of ``module`` failed later on.
    """
    if module in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, _AfterImport(module, action))


class _AfterImport(MetaPathFinder):
    """Finds one module as Python does, and adds an action to its execution."""

    def __init__(self, module: str, action: Callable[[], object]) -> None:
        self.module, self.action = module, action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname == self.module else None
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def execute_then_act(module: ModuleType) -> None:
                execute(module)
                self.action()

            spec.loader.exec_module = execute_then_act  # type: ignore[method-assign]
        return spec
