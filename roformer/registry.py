"""Names in ``conf/`` and ``config.json`` -> classes, with strict keys and a helping hand for typing errors."""

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import NoneType, UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from roformer.errors import UserError

T = TypeVar("T")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns "; did you mean 'x'?" for the nearest of ``known``, or nothing where none is near."""
    # the columns of a table without a header may be whole texts
    short = (each for each in known if len(each) <= 100 and each.isprintable())
    close = difflib.get_close_matches(word, sorted(short)[:1000], n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def now_called(word: str, new_names: Mapping[str, str]) -> str:
    """Returns "; it is now called 'x'" for a word that was renamed, or nothing."""
    return f"; it is now called '{new_names[word]}'" if word in new_names else ""


def check_type(name: str, value: Any, annotation: Any) -> None:
    """Raises ``UserError`` unless a value from yaml or JSON fits its annotation."""
    if not _fits(value, annotation):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{name} must be a finite number, got {value}")
        like_text = isinstance(value, int | float) and _fits(str(value), annotation)
        quotes = f"; a text needs quotes within quotes: \"'{value}'\"" if like_text else ""
        raise UserError(f"{name}={value!r} is not possible (allowed: {_allowed(annotation)}{quotes})")


def _allowed(annotation: Any) -> str:
    """Returns in words what fits an annotation."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return " or ".join(map(_allowed, get_args(annotation)))
    if origin is Literal:
        return ", ".join(map(str, get_args(annotation)))
    return "null" if annotation is NoneType else str(annotation if origin else annotation.__name__)


def _fits(value: Any, annotation: Any) -> bool:
    origin = get_origin(annotation)
    if annotation is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, choice) for choice in get_args(annotation))
    if origin is Literal:
        return value in get_args(annotation)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    plain = origin or annotation
    return isinstance(value, plain) if isinstance(plain, type) else True


class Registry(Generic[T]):
    """Classes of one kind (position encodings, tasks, ...) by the name that yaml files and checkpoints use.

    Args:
        kind: for messages, such as "position encoding".
        old_names: names of an earlier version -> today's; they are refused with a hint.
        old_settings: the same for the settings of each class, by its name.
    """

    def __init__(
        self,
        kind: str,
        *,
        old_names: Mapping[str, str] | None = None,
        old_settings: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.kind = kind
        self._old_names, self._old_settings = old_names or {}, old_settings or {}
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator; raises ``KeyError`` where the name is taken (our own mistake, not a user's)."""

        def add(cls: type[T]) -> type[T]:
            if name in self._classes:
                raise KeyError(f"{self.kind} '{name}' is registered twice")
            self._classes[name] = cls
            return cls

        return add

    @staticmethod
    def discover(path: Iterable[str], package: str) -> None:
        """Imports every module of a package, and so registers their classes: adding a file needs no other edit.

        Args:
            path: ``__path__`` of the package.
            package: its ``__name__``.
        """
        for module in iter_modules(path):
            import_module(f"{package}.{module.name}")

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._classes))

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._classes:
            hint = now_called(name, self._old_names) or did_you_mean(name, self._classes)
            raise UserError(f"unknown {self.kind} '{name}'{hint} (available: {', '.join(sorted(self._classes))})")
        return self._classes[name]

    def check(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the keyword arguments for the class that ``settings["name"]`` names: every other key.

        Raises:
            UserError: if the name is unknown or missing, a key is not one that the class takes or needs, or a value
                has another type than it is annotated with.
        """
        if "name" not in settings:
            raise UserError(f"{self.kind} settings {dict(settings)} have no 'name' (available: {', '.join(self)})")
        cls, name = self[settings["name"]], settings["name"]
        given = {key: value for key, value in settings.items() if key != "name"}
        parameters = inspect.signature(cls).parameters.values()
        options = {p.name: p.default is p.empty for p in parameters if p.kind is p.KEYWORD_ONLY}
        hints = get_type_hints(cls.__init__)
        for key, value in given.items():
            if key not in options:
                hint = now_called(key, self._old_settings.get(name, {})) or did_you_mean(key, options)
                allowed = ", ".join(options) or "no settings"
                raise UserError(f"{self.kind} '{name}' has no setting '{key}'{hint} (it takes: {allowed})")
            check_type(f"{self.kind} '{name}': {key}", value, hints.get(key, Any))
        missing = [key for key, required in options.items() if required and key not in given]
        if missing:
            raise UserError(f"{self.kind} '{name}' needs a value for '{missing[0]}'")
        return given

    def build(self, settings: Mapping[str, Any], *args: Any) -> T:
        """Builds the class that ``settings["name"]`` names, with every other key as a keyword argument.

        Raises:
            UserError: as ``check`` does.
        """
        given = self.check(settings)
        return self[settings["name"]](*args, **given)
