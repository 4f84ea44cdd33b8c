"""Writes docs/encodings.md, a page with every position encoding that is registered, and its picture.

python -m tools.encodings_page                 # docs/encodings.md and docs/encodings.svg
"""

import inspect
import json
import math
import re
import statistics
from pathlib import Path

import matplotlib
import torch
from torch import Tensor, nn

from roformer.config import TrainConfig
from roformer.position import POSITION_ENCODINGS, ModelShape, PositionEncoding

matplotlib.use("agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
PAGE, PICTURE = ROOT / "docs" / "encodings.md", ROOT / "docs" / "encodings.svg"
COSTS = ROOT / "docs" / "performance" / "positions.json"
BASE = ModelShape(hidden_size=768, num_attention_heads=12, num_hidden_layers=12, max_position_embeddings=512)
SMALL = ModelShape(hidden_size=64, num_attention_heads=2, num_hidden_layers=1, max_position_embeddings=64)
TOKENS = 48  # of a picture


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    picture(PICTURE)
    print(f"{PAGE}\n{PICTURE}")


def page() -> str:
    """The page: a table, then what each encoding computes."""
    encodings = {name: build(name, BASE) for name in POSITION_ENCODINGS}
    cost = costs()
    table = [
        "| encoding | what | parameters added | scores | time | memory | shift-invariant | longer than trained |",
        "|---|---|---:|---|---:|---:|---|---|",
        *(
            f"| [`{name}`](#{name}) | {title(encoding)} | {parameters(encoding):,} | {scores(encoding)} "
            f"| {cost.get(name, ' | ')} | {'yes' if encoding.traits.shift_invariant else 'no'} | {longer(encoding)} |"
            for name, encoding in encodings.items()
        ),
    ]
    sections = [section(name, encoding) for name, encoding in encodings.items()]
    return "\n\n".join([HEAD.strip(), "\n".join(table), FOOT.strip(), *sections]) + "\n"


HEAD = """
# Position encodings

Each encoding is one file in `roformer/position/` and one yaml in `conf/position/`. All work with every backend of
softmax attention, padded and packed, in encoders and decoders. Linear attention accepts those that add nothing to the
scores. Their settings and defaults are on the page [Configuration](configuration.md#position). This page is generated
from the docstrings by `make docs`.
"""
FOOT = """
*Parameters added*: to a model of base size (12 layers, hidden size 768, 12 heads, 512 positions). *Scores*:
`unchanged` keeps the backend's fast path and its linear memory; `bias` adds a matrix over all pairs of tokens;
`explicit` needs the attention weights themselves, whatever the backend. *Time* and *memory*: of a training step of a
small model at 512 tokens on a CPU, relative to `none`; all rounds are in [Performance](performance.md). *Longer than
trained*: `accepted` means that no table ends, not that the model is good there. That is measured for eight of them in
[Results](results/compare/README.md).

![Scores of equal queries and keys](encodings.svg)

Scores of the first head for 48 queries (rows) and keys (columns) that are all equal, so only positions make a
difference; for encodings that add to the embeddings, the products of what they add. Trained parameters are drawn at
random.
"""


def build(name: str, shape: ModelShape) -> PositionEncoding:
    """Builds an encoding as its yaml has it."""
    return POSITION_ENCODINGS.build(TrainConfig.compose(f"position={name}").position, shape)


def costs() -> dict[str, str]:
    """Returns the two cells of each encoding that was measured; the time is the median over rounds."""
    (case,) = json.loads(COSTS.read_text(encoding="utf-8"))["cases"]
    results = {result["contestant"].removeprefix("ours, "): result for result in case["results"]}
    results["rope"] = results.pop("roformer (ours)")
    none = results["none"]
    cells = {}
    for name, result in results.items():
        time = statistics.median(a / b for a, b in zip(result["seconds"], none["seconds"], strict=True))
        cells[name] = f"{time:.2f}x | {result['peak_bytes'] / none['peak_bytes']:.1f}x"
    return cells


def title(encoding: PositionEncoding) -> str:
    """The first line of the module."""
    return documentation(encoding).splitlines()[0].removesuffix(".")


def documentation(encoding: PositionEncoding) -> str:
    return inspect.cleandoc(inspect.getmodule(encoding).__doc__ or "")


def parameters(encoding: PositionEncoding) -> int:
    return sum(parameter.numel() for parameter in encoding.parameters())


def scores(encoding: PositionEncoding) -> str:
    """Which path attention takes with it."""
    if encoding.adds_to_values:
        return "explicit"
    return "unchanged" if score_matrix(encoding, BASE, tokens=4)[1] is None else "bias"


def longer(encoding: PositionEncoding) -> str:
    return "accepted" if encoding.traits.max_length is None else f"at most {encoding.traits.max_length:,}"


def section(name: str, encoding: PositionEncoding) -> str:
    """What it computes, in the words of its docstring; where it is from, what it is tested against."""
    what = re.split(r"\n\s*Args:", inspect.cleandoc(type(encoding).__doc__ or ""))[0].strip()
    rest = documentation(encoding).split("\n\n", 1)[1]
    source, checked = (" ".join(part.split()) for part in re.split(r"\nChecked against:", rest))
    return f"## {name}\n\n{what.replace('``', '`')}\n\n{source}\n\nTested against: {checked.replace('``', '`')}"


def score_matrix(encoding: PositionEncoding, shape: ModelShape, tokens: int) -> tuple[Tensor, Tensor | None]:
    """Returns the products of equal queries and keys, (1, H, L, L), and the bias that is added to them."""
    positions = torch.arange(tokens)[None]
    state = encoding.prepare(positions)
    ones = torch.ones(1, shape.num_attention_heads, tokens, shape.head_size)
    query, key = encoding.rotate(ones, state), encoding.rotate_key(ones, state)
    embedded = encoding.embed(torch.zeros(1, tokens, shape.hidden_size), positions)
    products = query @ key.mT / math.sqrt(shape.head_size) + (embedded @ embedded.mT)[:, None]
    return products, encoding.score_bias(query, key, state, layer=0)


def picture(file: Path) -> None:
    """Draws the scores of all encodings."""
    names = list(POSITION_ENCODINGS)
    columns = 6
    figure, axes = plt.subplots(-(-len(names) // columns), columns, figsize=(2 * columns, 2.2 * len(names) / columns))
    for axis, name in zip(axes.flat, names, strict=False):
        torch.manual_seed(0)
        encoding = build(name, SMALL)
        for parameter in encoding.parameters():
            nn.init.normal_(parameter, std=0.3)
        with torch.no_grad():
            products, bias = score_matrix(encoding, SMALL, TOKENS)
        axis.imshow((products if bias is None else products + bias)[0, 0], cmap="viridis")
        axis.set_title(name, fontsize=8)
    for axis in axes.flat:
        axis.set_axis_off()
    plt.rcParams["svg.hashsalt"] = "roformer"  # the same content gives the same file
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
