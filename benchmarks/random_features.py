"""How far FAVOR+ is from softmax attention, by the number of its random features: as 1 / sqrt(features).

python -m benchmarks.random_features

Root mean square over 32 drawings of the features, over the standard deviation of what softmax attention gives; 256
tokens, heads of 64 with RoPE, in float64, queries and keys drawn at two lengths.
"""

import argparse
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.run import WIDTH, positive
from roformer.attention import ATTENTION_BACKENDS, AttentionBackend, SequenceLayout
from roformer.attention.performer import PerformerAttention
from roformer.cli import one_line_errors
from roformer.position import POSITION_ENCODINGS, ModelShape

LENGTHS = (2.0, 4.0)  # of queries and keys; their product is then divided by sqrt(64)
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
    shown = Table("features", *(f"error, {size:g} long" for size in LENGTHS))
    for count in arguments.features:
        errors = (error(size, count, arguments.drawings) for size in LENGTHS)
        shown.add_row(f"{count:,}", *(f"{each:.4f}" for each in errors))
    Console(width=WIDTH).print(shown)


def error(size: float, count: int, drawings: int) -> float:
    """Returns the error of ``count`` features, for queries and keys of about this length."""
    torch.manual_seed(_SEED)
    query, key, value = torch.randn(3, 1, 1, _TOKENS, 64, dtype=torch.float64).unbind(0)
    heads = (query * size / 8, key * size / 8, value)
    exact = attend(ATTENTION_BACKENDS["eager"](_SHAPE, dropout=0.0, rotary_value=False), heads)
    squares = [
        (attend(PerformerAttention(_SHAPE, dropout=0.0, rotary_value=False, num_features=count), heads) - exact)
        .square()
        .mean()
        for _ in range(drawings)
    ]
    return float(torch.stack(squares).mean().sqrt() / exact.std())


def attend(backend: AttentionBackend, heads: Sequence[Tensor]) -> Tensor:
    """Returns what attention gives, (1, tokens, 64)."""
    rope = POSITION_ENCODINGS.build({"name": "rope"}, _SHAPE)
    state = rope.prepare(torch.arange(_TOKENS)[None])
    query, key, value = heads
    output, _ = backend.eval()(query, key, value, position=rope, state=state, layout=SequenceLayout(), layer=0)
    return output


if __name__ == "__main__":
    main()
