"""Writes the report: one self-contained HTML page, the figures as files, and the tables as Markdown.

The page loops over the sections that it is given; it knows none of them.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias

import jinja2
from markupsafe import Markup

from roformer.report import canvas, fonts
from roformer.report.blocks import Block, Tile
from roformer.report.figure import Figure
from roformer.report.numbers import provenance_line
from roformer.report.table import Table, escape_markdown, to_html, to_markdown
from roformer.results.comparison import Comparison


class Shown(Protocol):
    """What the page asks of a section, with the section's summary; see ``roformer.sections.Section``."""

    summary: ClassVar[type[Any]]
    family: ClassVar[str | None]
    heading: ClassVar[str]

    def render(self, summary: Any, comparison: Comparison) -> Iterator[Block]: ...
    def sentences(self, summary: Any, comparison: Comparison) -> Sequence[str]: ...
    def tiles(self, summary: Any, comparison: Comparison) -> Sequence[Tile]: ...
    def tuning(self, summary: Any, comparison: Comparison) -> str | None: ...
    def limitations(self, summary: Any, comparison: Comparison) -> Sequence[str]: ...


Sections: TypeAlias = Sequence[tuple[str, Shown]]
"""Name and section, in the order of the page."""


@dataclass(frozen=True)
class Part:
    """A heading of the page, and what stands below it."""

    heading: str
    blocks: tuple[Block, ...]


def write_report(comparison: Comparison, folder: Path, sections: Sections) -> Path:
    """Writes ``index.html``, ``tables.md`` and ``figures/*.svg, *.png`` into ``folder``, replacing older ones.

    Args:
        comparison: what to show.
        folder: made where missing.
        sections: that the page shows.

    Returns:
        The path of ``index.html``.
    """
    blocks = [block for part in page_parts(comparison, sections) for block in part.blocks]
    shutil.rmtree(folder / "figures", ignore_errors=True)  # a figure of an older comparison must not stay behind
    (folder / "figures").mkdir(parents=True)
    boxes: set[str] = set()
    for figure in (block for block in blocks if isinstance(block, Figure)):
        path = folder / "figures" / figure.name
        drawn = figure.draw(canvas.WIDE)
        path.with_suffix(".svg").write_text(canvas.to_svg(drawn, name=figure.name), encoding="utf-8")
        boxes |= fonts.add_fallback(drawn)
        path.with_suffix(".png").write_bytes(canvas.to_png(drawn))
    if boxes:
        print(
            f"warning: no installed font has {''.join(sorted(boxes))[:20]}: boxes stand for them in figures/*.png, "
            "not in index.html and *.svg; install one, such as Noto Sans CJK for Chinese",
            flush=True,
        )
    (folder / "tables.md").write_text(markdown(comparison, sections), encoding="utf-8")
    page = folder / "index.html"
    page.write_text(html(comparison, sections), encoding="utf-8")
    return page


def html(comparison: Comparison, sections: Sections) -> str:
    """Returns the page as HTML text that loads nothing: styles and drawings are inline, and there is no script."""
    source = resources.files("roformer.report")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(source.joinpath("page.html.jinja").read_text(encoding="utf-8"))
    measured = list(_measured(comparison, sections))
    tuning = [section.tuning(summary, comparison) for _, section, summary in measured]
    limitations = chain(*(section.limitations(summary, comparison) for _, section, summary in measured))
    said = sentences(comparison, sections)
    return template.render(
        comparison=comparison,
        style=Markup(source.joinpath("page.css").read_text(encoding="utf-8")),
        headline=said[0],
        conclusions=said[1:],
        fair=not warnings(comparison, sections),
        tuning=[sentence for sentence in tuning if sentence],
        limitations=list(limitations),
        tiles=list(chain(*(section.tiles(summary, comparison) for _, section, summary in measured))),
        parts=[
            (part.heading, [_rendered(block) for block in part.blocks]) for part in page_parts(comparison, sections)
        ],
    )


def markdown(comparison: Comparison, sections: Sections) -> str:
    """Returns the sentences and the tables of the page as Markdown."""
    head = "\n\n".join([f"# {escape_markdown(comparison.title)}", *sentences(comparison, sections), ""])
    blocks = (block for part in page_parts(comparison, sections) for block in part.blocks)
    tables = [to_markdown(block) for block in blocks if isinstance(block, Table)]
    command = comparison.origin.command.replace("`", "'")
    return "\n".join([head, *tables, f"`{command}`: {escape_markdown(provenance_line(comparison.origin))}.\n"])


def page_parts(comparison: Comparison, sections: Sections) -> list[Part]:
    """Returns headings with their tables, figures and prose, in the order of the page, numbered from 1."""
    parts: list[Part] = []
    for _, section, summary in _measured(comparison, sections):
        if blocks := tuple(section.render(summary, comparison)):
            if parts and parts[-1].heading == section.heading:
                parts[-1] = Part(section.heading, parts[-1].blocks + blocks)
            else:
                parts.append(Part(section.heading, blocks))
    tables = figures = 0
    for place, part in enumerate(parts):
        numbered: list[Block] = []
        for block in part.blocks:
            if isinstance(block, Table):
                tables += 1
                block = replace(block, title=f"Table {tables}. {block.title}")
            elif isinstance(block, Figure):
                figures += 1
                block = replace(block, title=f"Figure {figures}. {block.title}")
            numbered.append(block)
        parts[place] = Part(part.heading, tuple(numbered))
    return parts


def sentences(comparison: Comparison, sections: Sections) -> list[str]:
    """Returns what the page says first; the first of them is its headline."""
    found = (section.sentences(summary, comparison) for _, section, summary in _measured(comparison, sections))
    return list(chain(*found)) or ["No results yet: the comparison holds no run."]


def headline(comparison: Comparison, sections: Sections) -> str:
    """Returns the one sentence that a reader takes away."""
    return sentences(comparison, sections)[0]


def warnings(comparison: Comparison, sections: Sections) -> list[str]:
    """Returns the warnings of all tables, each with the name of its table."""
    blocks = (block for part in page_parts(comparison, sections) for block in part.blocks)
    return [f"{block.name}: {warning}" for block in blocks if isinstance(block, Table) for warning in block.warnings]


def _measured(comparison: Comparison, sections: Sections) -> Iterator[tuple[str, Shown, Any]]:
    """Yields the sections that have something to show, with their summaries."""
    for name, section in sections:
        if section.family is None:
            yield name, section, section.summary()
        elif name in comparison.summaries:
            yield name, section, comparison.summaries[name]


def _rendered(block: Block) -> tuple[str, Block, Markup]:
    """Returns the kind of a block, the block, and its HTML."""
    if isinstance(block, Table):
        return "table", block, Markup(to_html(block))
    if isinstance(block, Figure):
        return "figure", block, _inline(block)
    return "prose", block, Markup(block.html)


def _inline(figure: Figure) -> Markup:
    """Returns both widths of one figure; the style sheet shows the one that fits the screen."""
    drawings = []
    for kind, width in (("wide", canvas.WIDE), ("narrow", canvas.NARROW)):
        name = f"{figure.name}-{kind}"
        svg = canvas.to_inline_svg(figure.draw(width), name=name, title=figure.title, description=figure.description)
        drawings.append(f'<div class="{kind}">{svg}</div>')
    return Markup("\n".join(drawings))
