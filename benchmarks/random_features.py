"""How far FAVOR+ is from softmax attention, by the number of its random features, vs. a mean of all values.

python -m benchmarks.random_features

Root mean square over drawings of the features, over the standard deviation of what softmax attention gives; 256
tokens, heads of 64 with RoPE, in float64; queries and keys are drawn so that the scores spread by 1/16, 1/4 and 1.
"""

import argparse
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.run import positive
from benchmarks.tables import WIDTH
from roformer.attention import ATTENTION_BACKENDS, AttentionBackend, AttentionInputs, SequenceLayout
from roformer.attention.favor_plus import FavorPlusAttention
from roformer.cli.errors import one_line_errors
from roformer.position import POSITION_ENCODINGS, ModelShape

SPREADS = (1 / 16, 1 / 4, 1.0)  # standard deviations of scores, the products of queries and keys over sqrt(64)
_SHAPE = ModelShape(hidden_size=64, num_attention_heads=1)
_TOKENS, _SEED = 256, 0


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.random_features", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--features", type=positive, nargs="+", default=[4**power for power in range(2, 7)])
    parser.add_argument("--drawings", type=positive, default=32)
    arguments = parser.parse_args()
    shown = Table("features", *(f"scores of {spread:.2f}" for spread in SPREADS))
    for count in (0, *arguments.features):
        errors = (error(spread, count, arguments.drawings) for spread in SPREADS)
        shown.add_row(f"{count:,}" if count else "none: the mean of values", *(f"{each:.3f}" for each in errors))
    Console(width=WIDTH).print(shown)


def error(spread: float, count: int, drawings: int) -> float:
    """Returns the error of ``count`` features, or with 0 that of the mean of values, at this spread of the scores."""
    torch.manual_seed(_SEED)
    query, key, value = torch.randn(3, 1, 1, _TOKENS, 64, dtype=torch.float64).unbind(0)
    heads = (query * spread**0.5, key * spread**0.5, value)
    exact = attend(ATTENTION_BACKENDS["eager"](_SHAPE, dropout=0.0, rotary_value=False), heads)
    if count:
        found = [
            attend(FavorPlusAttention(_SHAPE, dropout=0.0, rotary_value=False, num_features=count), heads)
            for _ in range(drawings)
        ]
    else:
        found = [value.mean(dim=2)]
    squares = torch.stack([(each - exact).square().mean() for each in found])
    return float(squares.mean().sqrt() / exact.std())


def attend(backend: AttentionBackend, heads: Sequence[Tensor]) -> Tensor:
    """Returns what attention gives, (1, tokens, 64)."""
    rope = POSITION_ENCODINGS.build({"name": "rope"}, _SHAPE)
    state = rope.prepare(torch.arange(_TOKENS)[None])
    query, key, value = heads
    inputs = AttentionInputs(
        query=query, key=key, value=value, position=rope, state=state, layout=SequenceLayout(), layer=0
    )
    return backend.eval()(inputs)[0]


if __name__ == "__main__":
    main()
