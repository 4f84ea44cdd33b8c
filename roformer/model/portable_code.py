"""The code that a saved model carries, with which transformers loads it where this package is not installed.

It is one file, made of the package's own modules: those that the models and the chosen encoding and attention need,
each after the modules that it imports. A statement whose first line ends with ``# package only`` stays out of it.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import roformer
from roformer.attention import ATTENTION_BACKENDS
from roformer.model.auto_classes import AUTO_CLASSES
from roformer.position import POSITION_ENCODINGS

FILE = "modeling_roformer_lab.py"
_CLASSES = {"AutoConfig": "RoFormerLabConfig", **AUTO_CLASSES}
AUTO_MAP = {auto_class: f"{Path(FILE).stem}.{name}" for auto_class, name in _CLASSES.items()}
"""Of ``config.json``: where transformers finds the class of each Auto class."""
_PACKAGE = Path(roformer.__file__).parent
_PACKAGE_ONLY = "# package only"
_STANDARD = ("auto", "eager", "kernel")  # what a user may choose for any model with softmax attention
_HEADER = '''"""RoFormer with {position} positions, for transformers. Apache-2.0.

Made by roformer-lab {version} from its own modules, each of which begins with a line that names it. With that package
installed, ``import roformer`` comes before this file.
"""
'''


def portable_code(position: Mapping[str, Any], attention_backend: str) -> str | None:
    """Returns the text of the file; None where a choice is not of this package, which cannot know what that needs.

    Args:
        position: settings of the model's encoding.
        attention_backend: its attention.
    """
    encodings = {POSITION_ENCODINGS[name] for name in {"rope", *_names(position)}}
    backends = {ATTENTION_BACKENDS[name] for name in {attention_backend, *_STANDARD}}
    modules = {each.__module__ for each in encodings | backends}
    if not all(module.startswith("roformer.") for module in modules):
        return None
    return _text(str(position["name"]), frozenset(modules))


def _names(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yields the name of an encoding and of those that it is made of."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _names(value)
        elif key == "name":
            yield value


@cache
def _text(position: str, modules: frozenset[str]) -> str:
    source = _Source()
    for module in sorted(modules):
        source.add(module)
    for name in _CLASSES.values():
        source.add(_home("roformer.model", name))
    header = _HEADER.format(position=position, version=roformer.__version__)
    whole_modules_first = sorted(source.imports, key=lambda line: (line.startswith("from"), line))
    return "\n".join([header, *whole_modules_first, *source.sections, ""])


def _file(module: str) -> Path:
    path = _PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _home(module: str, name: str) -> str:
    """Returns the module that defines a name, which a package imports from there."""
    file = _file(module)
    if file.name != "__init__.py":
        return module
    imports = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    return next(_home(str(node.module), name) for node in imports if name in {alias.name for alias in node.names})


class _Source:
    """Modules of this package, in the order in which they can be executed as one."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.sections: list[str] = []
        self._modules: set[str] = set()
        self._names: Counter[str] = Counter()

    def add(self, module: str) -> None:
        """Adds a module after those that it imports.

        Raises:
            KeyError: if two modules define the same name, which is our own mistake.
        """
        if module in self._modules:
            return
        self._modules.add(module)
        text = _file(module).read_text("utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.stmt) and lines[node.lineno - 1].endswith(_PACKAGE_ONLY):
                _blank(lines, node)
        tree = ast.parse("\n".join(lines))
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._add_import(node)
                _blank(lines, node)
        title = ast.get_docstring(tree)
        assert title, f"{module} has no docstring"
        _blank(lines, tree.body[0])
        self._check_names(module, tree)
        comment = "\n".join(f"# {line}".rstrip() for line in [f"---- {module}", *title.splitlines()])
        self.sections.append(f"\n\n{comment}\n\n\n" + "\n".join(lines).strip("\n"))

    def _add_import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.Import):
                self.imports.add(f"import {ast.unparse(alias)}")
            elif str(node.module).split(".")[0] == "roformer":
                self.add(_home(str(node.module), alias.name))
            else:
                self.imports.add(f"from {node.module} import {ast.unparse(alias)}")

    def _check_names(self, module: str, tree: ast.Module) -> None:
        defined = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        targets = [
            target
            for node in tree.body
            for target in (node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)])
        ]
        defined += [target.id for target in targets if isinstance(target, ast.Name)]
        self._names.update(defined)
        if taken := [name for name, count in self._names.items() if count > 1]:
            raise KeyError(f"{module} defines {taken[0]}, which another module has as well; a saved model is one file")


def _blank(lines: list[str], node: ast.stmt) -> None:
    """Removes a statement; others keep the numbers of their lines."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    for number in range(first - 1, node.end_lineno or node.lineno):
        lines[number] = ""
