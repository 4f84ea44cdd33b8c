"""Writes the page of all settings from the files of conf: docs/configuration.md.

Each line of a yaml is one row: its key, its default, and the comment that follows it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PAGE, CONF = ROOT / "docs" / "configuration.md", ROOT / "conf"
HEAD = """
# Configuration

`group=choice` selects a file of `conf/`, `group.key=value` changes one setting, and `python train.py --help` lists the
groups, their choices and the values of what is selected. Typos fail fast, with a suggestion. A run stores its whole
configuration in `config.yaml` in its folder. [Recipes](recipes.md) are listed on a page of their own.

Below: every group, its choices, and for each choice every setting with its default. `???` must be given. This page is
generated from `conf/` by `make docs`.
"""
GROUPS = {  # the order of the page, and what a group decides
    "model": "Sizes and dropout.",
    "position": "The position encoding and its settings; [Encodings](encodings.md) says what each one computes.",
    "attention": "The attention backend. `auto` measures which exact softmax backend is fastest here.",
    "data": "The corpus and its splits; see [Data](data.md).",
    "tokenizer": "Trained on the corpus, one token per byte, or loaded.",
    "task": "What is trained, on which lengths, and how it is evaluated.",
    "optimizer": "The update rule, its learning rate and its constants.",
    "scheduler": "The learning rate over the steps.",
    "trainer": "Steps, batches, precision, logging, checkpoints.",
    "tracker": "Where curves go besides `metrics.jsonl`.",
    "paths": "Where runs and caches are written.",
    "debug": "Short runs that check a recipe.",
}


def page() -> str:
    """Returns the page: the settings of the two entry points, then each group.

    Raises:
        ValueError: if conf has a group that ``GROUPS`` does not describe.
    """
    found = {path.name for path in CONF.iterdir() if path.is_dir()} - {"experiment"}
    if found != set(GROUPS):
        raise ValueError(f"describe these groups of conf in {__name__}.GROUPS, or remove them: {found ^ set(GROUPS)}")
    index = ["| group | choices | default |", "|---|---|---|", *map(_index_row, GROUPS)]
    entry_points = [_entry_point("train"), _entry_point("evaluate")]
    return "\n\n".join([HEAD.strip(), "\n".join(index), *entry_points, *map(group, GROUPS)]) + "\n"


def group(name: str) -> str:
    """Returns the section of a group."""
    parts = [f"## {name}", GROUPS[name]]
    for choice in choices(name):
        file = CONF / name / f"{choice}.yaml"
        parts += [f"### {name}={choice}", *_header(file), settings_table(file)]
    return "\n\n".join(part for part in parts if part)


def choices(name: str) -> list[str]:
    return sorted(path.stem for path in (CONF / name).glob("*.yaml"))


def settings_table(file: Path) -> str:
    """Returns the table of a yaml's settings, with the comment on the line of each; nothing where it has none."""
    text = file.read_text(encoding="utf-8")
    rows = [
        f"| `{key}` | `{value}` | {comment} |"
        for key, value, comment in _settings(yaml.compose(text), text)
        if not key.startswith(("defaults", "hydra."))
    ]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows]) if rows else ""


def _settings(node: yaml.Node | None, text: str, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yields the dotted key of every value that is no mapping, the value as written, and the comment on its line."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        if isinstance(value, yaml.MappingNode):
            yield from _settings(value, text, f"{prefix}{key.value}.")
        else:
            own_line = value.start_mark.line == key.start_mark.line
            rest = text[value.end_mark.index if own_line else key.end_mark.index :].partition("\n")[0]
            comment = re.search(r"(?:^|\s)# (.*)", rest)
            written = " ".join(text[value.start_mark.index : value.end_mark.index].split())
            yield f"{prefix}{key.value}", written, comment[1].replace("|", r"\|") if comment else ""


def _entry_point(name: str) -> str:
    return f"## {name}.py\n\n{settings_table(CONF / f'{name}.yaml')}"


def _index_row(name: str) -> str:
    defaults: list[Any] = yaml.safe_load((CONF / "train.yaml").read_text(encoding="utf-8"))["defaults"]
    default = next((entry[name] for entry in defaults if isinstance(entry, dict) and name in entry), None)
    linked = " ".join(f"[`{choice}`](#{name}{choice})" for choice in choices(name))
    return f"| [`{name}`](#{name}) | {linked} | {f'`{default}`' if default else ''} |"


def _header(file: Path) -> list[str]:
    """The comment at the top of a yaml, as a paragraph and a block of commands."""
    lines = file.read_text(encoding="utf-8").splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    comment = [line[2:] for line in lines[:end] if not line.startswith("# @package")]
    text = " ".join(line for line in comment if not line.startswith("  "))
    code = [line.strip() for line in comment if line.startswith("  ")]
    text = re.sub(rf"^conf/{file.parent.name}/{file.name} -- ", "", text)
    return [text[:1].upper() + text[1:], "\n".join(["```bash", *code, "```"]) if code else ""]
