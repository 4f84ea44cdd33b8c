"""Writes docs/reproduction.md: every result of the paper with ours beside it, or why there is none.

python -m roformer.reproduction
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from roformer.reports.numbers import display_name, with_interval
from roformer.theory import relative_upper_bound

DOCS = Path(__file__).parents[1] / "docs"
ROWS, PAGE, RESULTS = DOCS / "reproduction.yaml", DOCS / "reproduction.md", DOCS / "results"
FLOPS = 4e14  # a second of one H100: two fifths of its peak in bfloat16
HEAD = """# The paper's results, and ours

Made by `make report` from [reproduction.yaml](reproduction.yaml) and the files in [results/](results). Hours are
estimates: 6 operations a parameter and token (attention comes on top) at {rate:.0f} TFLOP/s, for one run; nobody has
measured them.
"""

Row = Mapping[str, Any]


def main() -> None:
    PAGE.write_text(page(yaml.safe_load(ROWS.read_text(encoding="utf-8"))), encoding="utf-8")
    print(PAGE)


def page(content: Mapping[str, Any]) -> str:
    """Returns the page: a table a section, and the paper's defects."""
    parts = [HEAD.format(rate=FLOPS / 1e12)]
    for section in content["sections"]:
        lines = ["| result | the paper | ours, reduced | commands | remarks |", "| --- | --- | --- | --- | --- |"]
        lines += [f"| {' | '.join(cells(row))} |" for row in section["rows"]]
        parts.append(f"## {section['title']}\n\n" + "\n".join(lines) + "\n")
    defects = "\n".join(f"| {each['what']} | {each['ours']} |" for each in content["defects"])
    parts.append(f"## Defects of the paper\n\n| what | what our runs say or do |\n| --- | --- |\n{defects}\n")
    return "\n".join(parts)


def cells(row: Row) -> list[str]:
    """Returns what stands in the columns of a row."""
    row = {**_glue(row["glue"]), **row} if "glue" in row else row
    commands = [f"reduced: `{row['reduced']}`"] if "reduced" in row else []
    if "full" in row:
        hours = f", about {_hours(row):,.0f} H100 hours" if "tokens" in row else ""
        commands.append(f"full: `{row['full']}`{hours}")
    return [row["result"], str(row["paper"]), ours(row) or "not run", "; ".join(commands), row.get("remark", "")]


def ours(row: Row) -> str:
    """Returns our numbers with intervals and where they come from; nothing where there are none."""
    if "bound" in row:
        bound = relative_upper_bound(row["bound"], head_size=128, base=10000.0)
        return ", ".join(f"{value:.1f}" for value in bound)
    found = []
    for number in row.get("ours", ()):
        file = RESULTS / number["file"] / "comparison.json"
        value: Any = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        for key in number["place"].split("."):
            value = (value or {}).get(key)
        if value is not None:
            written = with_interval(value, number["decimals"], scale=number.get("scale", 1.0))
            found.append(f"{number['name']}: {written}, {len(value['values'])} seeds")
    return "; ".join(found)


def _glue(task: str) -> Row:
    """Returns what all rows of GLUE have in common."""
    place, command = f"scores.{task}.encodings", "glue_stsb" if task == "stsb" else "glue"
    numbers = [
        {"name": display_name(name), "file": "glue", "place": f"{place}.{name}.score", "decimals": 1, "scale": 100}
        for name in ("rope", "learned")
    ]
    return {
        "ours": numbers,
        "full": f"python train.py -m experiment=paper/{command} data.glue_task={task}",
        "remark": "the paper's BERT is of the test server",
    }


def _hours(row: Row) -> float:
    return 6 * float(row["parameters"]) * float(row["tokens"]) / FLOPS / 3600


if __name__ == "__main__":
    main()
