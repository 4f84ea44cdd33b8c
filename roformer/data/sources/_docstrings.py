"""The docstrings of installed packages, read with ``ast`` from their source files; no package is imported."""

import ast
import importlib.metadata
import importlib.util
import multiprocessing
import os
import platform
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

from roformer.errors import UserError

CACHE_VERSION = 1  # raise it when the extraction below yields other text
STDLIB = "stdlib"
_SKIPPED_FOLDERS = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"})
_FILES_WORTH_A_POOL = 200  # below this, starting processes takes longer than parsing


def installed_packages(packages: Sequence[str]) -> list[str]:
    """Returns the import names that are installed (and "stdlib"), in their order; prints those that are not."""
    owners = _owners()
    missing = [name for name in packages if name != STDLIB and name not in owners]
    if missing:
        _print_once(f"data.packages: skipping {', '.join(missing)}: not installed (pip install 'roformer-lab[all]')")
    return [name for name in packages if name not in missing]


@cache
def _owners() -> Mapping[str, list[str]]:
    """Returns import name -> distributions; the metadata of all packages are read for it."""
    return importlib.metadata.packages_distributions()


@cache
def _print_once(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def package_versions(packages: Sequence[str]) -> dict[str, str]:
    """Maps each import name (or "stdlib") to the installed version.

    Raises:
        UserError: if a package is not installed.
    """
    owners = _owners()
    versions = {}
    for name in packages:
        if name == STDLIB:
            versions[name] = platform.python_version()
        elif name in owners:
            versions[name] = " ".join(importlib.metadata.version(owner) for owner in sorted(set(owners[name])))
        else:
            raise UserError(
                f"package '{name}' in data.libraries is not installed (pip install 'roformer-lab[all]', or remove it "
                f"from the list; names are top-level import names such as sklearn, or '{STDLIB}')"
            )
    return versions


def package_files(package: str) -> list[Path]:
    """Returns the ``.py`` files of an installed package without its tests, sorted by relative path."""
    if package == STDLIB:
        roots = [Path(sysconfig.get_paths()["stdlib"])]
    else:
        spec = importlib.util.find_spec(package)  # a top-level name: this imports nothing
        if spec is None:
            return []
        if spec.submodule_search_locations is None:
            return [Path(spec.origin)] if spec.origin and spec.origin.endswith(".py") else []
        roots = [Path(location) for location in spec.submodule_search_locations]
    found = []
    for root in roots:
        for folder, subfolders, names in os.walk(root):
            subfolders[:] = [name for name in subfolders if name not in _SKIPPED_FOLDERS]
            found += [(Path(folder, name).relative_to(root).parts, root) for name in names if name.endswith(".py")]
    return [root.joinpath(*parts) for parts, root in sorted(found)]


def file_docstrings(path: Path) -> list[str]:
    """Returns the dedented docstrings of a file in source order; an empty list if it is not valid Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return []
    return list(_docstrings(tree))


def _docstrings(node: ast.AST) -> Iterator[str]:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        text = ast.get_docstring(node)
        if text and text.strip():
            yield text.strip()
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):  # statements only: expressions define nothing
        children = getattr(node, field, ())
        for child in children if isinstance(children, list) else ():
            yield from _docstrings(child)


def module_texts(packages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields (package, text) for each module: its docstrings in source order, joined by blank lines.

    A docstring that an earlier module already had is skipped: generated and copied files would otherwise put the same
    text into training and validation split.
    """
    files = [(package, path) for package in packages for path in package_files(package)]
    seen: set[str] = set()
    for (package, _), docstrings in zip(files, _parse([path for _, path in files]), strict=True):
        fresh = [text for text in dict.fromkeys(docstrings) if text not in seen]
        seen.update(fresh)
        yield package, "\n\n".join(fresh)


def _parse(paths: list[Path]) -> Iterator[list[str]]:
    # daemonic workers of a sweep's launcher may not start processes
    if len(paths) < _FILES_WORTH_A_POOL or multiprocessing.parent_process() is not None:
        yield from map(file_docstrings, paths)
        return
    # spawn: forking a process in which torch or tokenizers already run threads can hang
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(file_docstrings, paths, chunksize=50)
