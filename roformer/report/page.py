"""Writes the report: one self-contained HTML page, the figures as files, and the tables as Markdown."""

import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from roformer.errors import UserError
from roformer.report import canvas
from roformer.report.figures import Drawing, all_figures
from roformer.report.headline import conclusions, headline, key_figures
from roformer.report.numbers import circumstances
from roformer.report.table import Table, to_html, to_markdown
from roformer.report.tables import all_tables

Comparison = Mapping[str, Any]
SCHEMA_VERSION = 4
FIELDS = (
    "created", "title", "reference", "hardware", "versions", "git_commit", "evaluation_commit", "command", "lm",
    "classification", "scores", "translation",
)  # fmt: skip


def write_report(comparison: Comparison, folder: Path) -> Path:
    """Writes ``index.html``, ``tables.md`` and ``figures/*.svg, *.png`` into ``folder``, replacing older ones.

    Args:
        comparison: the content of ``comparison.json``.
        folder: made where missing.

    Returns:
        The path of ``index.html``.

    Raises:
        UserError: if ``comparison`` is of another schema version or lacks a field.
    """
    _check(comparison)
    figures, tables = all_figures(comparison), all_tables(comparison)
    shutil.rmtree(folder / "figures", ignore_errors=True)  # a figure of an older comparison must not stay behind
    (folder / "figures").mkdir(parents=True)
    for figure in figures:
        path = folder / "figures" / figure.name
        drawn = figure.draw(comparison, canvas.WIDE)
        path.with_suffix(".svg").write_text(canvas.to_svg(drawn, name=figure.name), encoding="utf-8")
        path.with_suffix(".png").write_bytes(canvas.to_png(drawn))
    said = [headline(comparison), *conclusions(comparison)]
    markdown = ["\n\n".join([f"# {comparison['title']}", *said, ""]), *map(to_markdown, tables)]
    origin = f"`{comparison['command']}`: {circumstances(comparison)}.\n"
    (folder / "tables.md").write_text("\n".join([*markdown, origin]), encoding="utf-8")
    page = folder / "index.html"
    page.write_text(render(comparison, figures, tables), encoding="utf-8")
    return page


def render(comparison: Comparison, figures: list[Drawing], tables: list[Table]) -> str:
    """Returns the page as HTML text that loads nothing: styles and drawings are inline, and there is no script."""
    source = resources.files("roformer.report")
    parts = [comparison[name] for name in ("lm", "classification", "translation") if comparison[name]]
    parts += comparison["scores"].values()
    grids = comparison["lm"]["learning_rates"] if comparison["lm"] else None
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(source.joinpath("page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        comparison=comparison,
        style=Markup(source.joinpath("page.css").read_text(encoding="utf-8")),
        headline=headline(comparison),
        conclusions=conclusions(comparison),
        fair=not any(part["warnings"] for part in parts),
        tuned=grids is not None and grids.keys() == comparison["lm"]["encodings"].keys(),
        tiles=key_figures(comparison),
        tables={table.name: (table, Markup(to_html(table))) for table in tables},
        figures={figure.name: (figure, _inline(comparison, figure)) for figure in figures},
    )


def _inline(comparison: Comparison, figure: Drawing) -> Markup:
    """Both widths of one figure; the style sheet shows the one that fits the screen."""
    drawings = []
    for kind, width in (("wide", canvas.WIDE), ("narrow", canvas.NARROW)):
        drawn = figure.draw(comparison, width)
        name = f"{figure.name}-{kind}"
        svg = canvas.to_inline_svg(drawn, name=name, title=figure.title, description=figure.description)
        drawings.append(f'<div class="{kind}">{svg}</div>')
    return Markup("\n".join(drawings))


def _check(comparison: Comparison) -> None:
    version = comparison.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"comparison.json has schema_version {version}, allowed is {SCHEMA_VERSION}; run evaluate.py again"
        )
    missing = [field for field in FIELDS if field not in comparison]
    if missing:
        raise UserError(f"comparison.json has no '{missing[0]}' (needs: {', '.join(FIELDS)}); run evaluate.py again")
