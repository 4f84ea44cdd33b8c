"""Writes the page of all recipes from the headers and sweeps of conf/experiment: docs/recipes.md.

A header is the comment at the top of a yaml: prose, and commands, which are indented by two spaces more.
"""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PAGE, RECIPES = ROOT / "docs" / "recipes.md", ROOT / "conf" / "experiment"
HEAD = """
# Recipes

A recipe is one file in `conf/experiment/`: all settings of an experiment that differ from the defaults, its commands,
its cost, and what it sweeps. `python train.py -m experiment=NAME` runs the whole sweep; without `-m` it runs once,
with the encoding and the seed that you give. Any setting can be changed on the command line. To check that a recipe
runs, add `debug=smoke`: two steps of a tiny model, on generated sentences or on the data that you name.

This page is generated from the recipes by `make docs`.
"""


def page() -> str:
    """Returns the page: an overview, then each recipe with its commands."""
    names = sorted(
        (path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml")), key=_order
    )
    overview = ["| recipe | what it is for |", "|---|---|"]
    overview += [f"| [`{name}`](#{anchor(name)}) | {_summary(prose(name))} |" for name in names]
    return "\n\n".join([HEAD.strip(), "\n".join(overview), *map(section, names)]) + "\n"


def section(name: str) -> str:
    """Returns what a recipe's header says, its commands, and its sweep."""
    content = yaml.safe_load(_file(name).read_text(encoding="utf-8"))
    parts = [f"## {name}", prose(name)]
    if found := commands(name):
        parts.append("\n".join(["```bash", *found, "```"]))
    if swept := content.get("hydra", {}).get("sweeper", {}).get("params", {}):
        parts.append(f"Sweep: {', '.join(f'`{key}={value}`' for key, value in swept.items())}.")
    if changed := _defaults(content):
        parts.append(f"Based on: {changed}.")
    return "\n\n".join(parts)


def prose(name: str) -> str:
    """Returns the header of a recipe without its commands, as one paragraph."""
    return " ".join(line.strip() for line in _header(name) if not line.startswith("  "))


def commands(name: str) -> list[str]:
    """Returns the lines of a recipe's commands."""
    return [
        line.strip() if line.startswith("  python") else line[2:] for line in _header(name) if line.startswith("  ")
    ]


def anchor(name: str) -> str:
    """Returns what Markdown makes of a recipe's name as a heading."""
    return name.replace("/", "")


def _file(name: str) -> Path:
    return RECIPES / f"{name}.yaml"


def _header(name: str) -> list[str]:
    """The comment at the top, line by line, without its signs and without Hydra's directive."""
    lines = _file(name).read_text(encoding="utf-8").splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return [line[2:] for line in lines[:end] if not line.startswith("# @package")]


def _summary(text: str) -> str:
    """The first sentence."""
    return re.split(r"(?<=[.?]) (?=[A-Z`])", text, maxsplit=1)[0].replace("|", r"\|")


def _defaults(content: dict[str, Any]) -> str:
    """What a recipe takes from elsewhere: another recipe, or choices of groups."""
    found = []
    for entry in content.get("defaults", []):
        if isinstance(entry, dict):
            found += [f"`{group.removeprefix('override /')}={choice}`" for group, choice in entry.items()]
        elif entry != "_self_":
            found.append(f"[`{entry}`](#{anchor(entry)})")
    return ", ".join(found)


def _order(name: str) -> tuple[bool, str]:
    """The demo comes first, then by folder."""
    return not name.startswith("demo/"), name
