"""One table of a report, as data, and its two renderings: Markdown and HTML."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

BOUNDS = re.compile(r"(\[[^]]*\])$")  # the interval at the end of a cell


@dataclass(frozen=True)
class Table:
    """One table: the first column is text, the others are numbers written as text."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    warnings: tuple[str, ...] = ()


def to_markdown(table: Table) -> str:
    """Renders one table as GitHub Markdown: heading, warnings, table, note."""
    cells = [[escape_markdown(cell) for cell in row] for row in (table.columns, *table.rows)]
    head, *body = (f"| {' | '.join(row)} |" for row in cells)
    rule = "|".join(["", " --- ", *[" ---: "] * (len(table.columns) - 1), ""])
    warnings = [f"> **Warning:** {escape_markdown(text)}\n" for text in table.warnings]
    return "\n".join([f"## {escape_markdown(table.title)}\n", *warnings, head, rule, *body, "", table.note, ""])


def to_html(table: Table) -> str:
    """Renders one table as ``<table>`` with a caption; intervals are marked up, so that CSS can set them smaller."""
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in table.columns)
    body = "".join(_html_row(row) for row in table.rows)
    title = html.escape(table.title)
    return f"<table><caption><span>{title}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _html_row(row: Sequence[str]) -> str:
    first, *rest = (html.escape(cell) for cell in row)
    mark = r'<span class="ci">\1</span>'
    cells = "".join(f"<td>{BOUNDS.sub(mark, cell)}</td>" for cell in rest)
    return f'<tr><th scope="row">{first}</th>{cells}</tr>'


def escape_markdown(text: str) -> str:
    """Returns a text that Markdown shows as it is, HTML included."""
    return re.sub(r"([|<>*_`\\])", r"\\\1", text).replace("\n", " ")
