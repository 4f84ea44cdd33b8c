"""Training steps of our RoFormer and of transformers' own, in turn, on the same batches.

python -m benchmarks.run                                  # make bench
python -m benchmarks.run --lengths 512 2048 --rounds 9

Both models have the same sizes, no dropout and full batches of one length; both run under bf16 autocast where a
measurement finds that it pays. Ours computes logits at the masked positions only, as its trainer does; stock RoFormer
has no such option. A figure is the median over rounds of real tokens a second, with the least and the greatest.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from transformers import RoFormerConfig as StockConfig
from transformers import RoFormerForMaskedLM as StockRoFormerForMaskedLM

from roformer import RoFormerForMaskedLM
from roformer.model.heads import IGNORE
from roformer.training.precision import autocast, best_device, resolve_precision
from roformer.training.provenance import provenance

TOKENS = 4096  # in a batch, or as near as whole rows come to it
VOCABULARY = 8192

Step = Callable[[], None]


def training_step(model: torch.nn.Module, inputs: dict[str, object], precision: str) -> Step:
    """Returns a function that does one training step: forward, backward, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    device = next(model.parameters()).device

    def step() -> None:
        with autocast(precision, device):
            loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type != "cpu":
            torch.accelerator.synchronize()

    return step


def contestants(
    rows: int, length: int, arguments: argparse.Namespace, precision: str, device: torch.device
) -> dict[str, Step]:
    """Returns a training step for each model, on one batch of (rows, length) tokens."""
    torch.manual_seed(0)
    input_ids = torch.randint(5, VOCABULARY, (rows, length), device=device)
    labels = input_ids.masked_fill(torch.rand(input_ids.shape, device=device) > 0.15, IGNORE)
    cu_seqlens = torch.arange(0, input_ids.numel() + 1, length, device=device)
    packed = {"input_ids": input_ids.view(1, -1), "labels": labels.view(1, -1), "cu_seqlens": cu_seqlens}
    stock = StockRoFormerForMaskedLM(
        StockConfig(
            vocab_size=VOCABULARY, hidden_size=arguments.hidden_size, num_hidden_layers=arguments.layers,
            num_attention_heads=arguments.heads, intermediate_size=4 * arguments.hidden_size,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, max_position_embeddings=max(length, 512),
        )
    )  # fmt: skip
    steps = {
        f"ours, {backend}": training_step(
            RoFormerForMaskedLM.from_transformers(stock, attention_backend=backend).to(device).train(),
            {**packed, "sparse_prediction": True},
            precision,
        )
        for backend in ("sdpa", "eager")
    }
    steps["transformers RoFormer"] = training_step(
        stock.to(device).train(), {"input_ids": input_ids, "labels": labels}, precision
    )
    return steps


def measure(steps: dict[str, Step], tokens: int, rounds: int) -> dict[str, list[float]]:
    """Returns tokens a second of each round; the models take turns, so that a slow moment hits all."""
    for step in steps.values():
        step()  # warms up
    speeds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            speeds[name].append(tokens / (time.perf_counter() - start))
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 512, 2048])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    arguments = parser.parse_args()
    device = best_device()
    precision, why = resolve_precision("auto", hidden_size=arguments.hidden_size, device=device)
    table = Table("length", "model", "tokens/s", "least - greatest", "ratio to transformers", title="Training step")
    for length in arguments.lengths:
        rows = max(1, TOKENS // length)
        speeds = measure(contestants(rows, length, arguments, precision, device), rows * length, arguments.rounds)
        peer = statistics.median(speeds["transformers RoFormer"])
        for name, values in speeds.items():
            median = statistics.median(values)
            spread = f"{min(values):,.0f} - {max(values):,.0f}"
            table.add_row(str(length), name, f"{median:,.0f}", spread, f"{median / peer:.2f}")
    Console().print(table)
    record = provenance()
    print(f"{precision} ({why}); {record['hardware']}; torch {torch.__version__}; {record['versions']}")


if __name__ == "__main__":
    main()
