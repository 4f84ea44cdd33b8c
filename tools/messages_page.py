"""Writes the page of all error messages from the code: docs/messages.md.

Found are the calls of ``UserError`` and of its subclasses, and what ``roformer/cli/errors.py`` returns for errors of
libraries and of the machine; what is put into a message stands in angle brackets.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRANSLATOR = "roformer/cli/errors.py"  # of errors that libraries raise
PAGE, PACKAGE = ROOT / "docs" / "messages.md", ROOT / "roformer"
HEAD = """
# Error messages

A mistake that the commands recognize ends in one line that begins with `error: `, and in a status other than 0;
nothing has been trained or overwritten then. Below: the lines that the code writes, by the file that they come from;
search the page for some words of yours. What is put into a line stands in `<angle brackets>`, under the name that the
code has for it. This page is generated from the code by `make docs`.
"""


def page() -> str:
    """Returns the page: one section for each package, one list item for each message."""
    parts = [HEAD.strip()]
    sources = {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in sorted(PACKAGE.rglob("*.py"))}
    errors = {"UserError", *re.findall(r"^class (\w+)\(UserError\)", "\n".join(sources.values()), re.MULTILINE)}
    for name, source in sources.items():
        found = [*messages(source, errors), *(returned(source) if name == TRANSLATOR else ())]
        if found:
            parts.append("\n".join([f"## {name}", "", *(f"- `{text.replace('`', chr(39))}`" for text in found)]))
    return "\n\n".join(parts) + "\n"


def messages(source: str, errors: set[str]) -> Iterator[str]:
    """Yields the text of each message in the source of a module, in its order; ``errors`` are classes."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    for call in sorted(calls, key=lambda node: node.lineno):
        by_name = isinstance(call.func, ast.Name) and call.func.id in errors
        by_parent = isinstance(call.func, ast.Attribute) and ast.unparse(call.func) == "super().__init__"
        if (by_name or by_parent) and (text := _text(call.args[0])) and " " in text:
            yield " ".join(text.split())


def returned(source: str) -> Iterator[str]:
    """Yields the texts of several words that the functions of a module return, in its order."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Return) and node.value]
    for node in sorted(nodes, key=lambda node: node.lineno):
        is_text = isinstance(node.value, ast.JoinedStr | ast.Constant)
        if is_text and not (text := " ".join(_text(node.value).split())).startswith(";") and text.count(" ") > 2:
            yield text


def _text(node: ast.expr) -> str:
    """Returns a string expression as its reader sees it."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.FormattedValue):
        is_hint = any(word in ast.unparse(node.value) for word in ("hint", "did_you_mean", "now_called"))
        return "" if is_hint else f"<{_name(node.value)}>"
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return f"<{_name(node)}>"


def _name(node: ast.expr) -> str:
    """Returns a word for what an expression stands for: the last name in it."""
    if isinstance(node, ast.NamedExpr):
        return _name(node.target)
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Call):
        inner = node.args[-1] if node.args else node.func
        return _name(inner)
    if isinstance(node, ast.Subscript):
        return node.slice.value if _is_word(node.slice) else _name(node.value)
    if isinstance(node, ast.IfExp):
        return f"{_text(node.body)} | {_text(node.orelse)}"
    if isinstance(node, ast.Name):
        return node.id
    return "..."


def _is_word(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
