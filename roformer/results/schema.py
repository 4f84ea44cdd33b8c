"""Frozen dataclasses <-> plain JSON, by their annotations; unknown or missing keys are errors."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from roformer.errors import UserError

T = TypeVar("T")
Json: TypeAlias = Any
"""What ``json`` reads and writes: dict, list, str, int, float, bool or None."""


def to_json(value: object) -> Json:
    """Returns a dataclass, and all that it holds, as plain JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(each) for each in value]
    return value


def from_json(kind: type[T], content: Json, where: str = "") -> T:
    """Returns the dataclass that ``to_json`` wrote.

    Args:
        kind: the dataclass.
        content: plain JSON.
        where: names the place in messages.

    Raises:
        UserError: if a key is missing, unknown, or of another type.
    """
    found: T = _read(kind, content, where or kind.__name__)
    return found


def _read(kind: Any, content: Json, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return content
    if is_dataclass(kind):
        return _read_dataclass(kind, content, where)
    if origin in (Union, UnionType):
        if content is None and NoneType in arguments:
            return None
        chosen = next((each for each in arguments if each is not NoneType and _fits(each, content)), arguments[0])
        return _read(chosen, content, where)
    if origin is Literal:
        return _checked(content in arguments, content, where)
    if not _fits(kind, content):
        raise UserError(f"{where} is {content!r}, expected {kind}; run evaluate.py again")
    if origin is tuple and arguments[-1] is not Ellipsis:
        return tuple(_read(each, item, where) for each, item in zip(arguments, content, strict=True))
    if origin is tuple:
        return tuple(_read(arguments[0], item, f"{where}[{place}]") for place, item in enumerate(content))
    if origin is dict:
        key = arguments[0]
        return {key(name): _read(arguments[1], item, f"{where}.{name}") for name, item in content.items()}
    return float(content) if kind is float else content


def _read_dataclass(kind: Any, content: Json, where: str) -> Any:
    hints, names = get_type_hints(kind), [field.name for field in fields(kind)]
    if not isinstance(content, dict) or content.keys() != set(names):
        given = ", ".join(sorted(content)) if isinstance(content, dict) else repr(content)
        raise UserError(f"{where} has the keys {given}, expected {', '.join(sorted(names))}; run evaluate.py again")
    return kind(**{name: _read(hints[name], content[name], f"{where}.{name}") for name in names})


def _fits(kind: Any, content: Json) -> bool:
    origin = get_origin(kind) or kind
    if origin is float:
        return isinstance(content, int | float) and not isinstance(content, bool)
    if origin is tuple:
        return isinstance(content, list)
    if is_dataclass(origin):
        return isinstance(content, dict)
    return isinstance(content, origin)


def _checked(allowed: bool, content: Json, where: str) -> Json:
    if not allowed:
        raise UserError(f"{where} is {content!r}, which is not allowed; run evaluate.py again")
    return content
