"""The figures of docs/performance.md."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks import attention_lengths
from benchmarks.contestants import OURS
from benchmarks.work import AS_IT_COMES


def lengths_figure(report: dict[str, Any], file: Path) -> None:
    """Tokens a second over the length, a line a contestant, peers as they come; training and inference."""
    works = [work for work in ("training", "inference") if any(case["work"] == work for case in report["cases"])]
    canvas, axes = plt.subplots(1, len(works), figsize=(5.2 * len(works), 4), squeeze=False)
    for axis, work in zip(axes[0], works, strict=True):
        lines: dict[str, dict[int, float]] = {}
        for case in (case for case in report["cases"] if case["work"] == work and case["length"]):
            as_it_comes = (r for r in case["results"] if r["contestant"] == OURS or r["variant"] == AS_IT_COMES)
            for result in as_it_comes:
                points = lines.setdefault(result["contestant"], {})
                rate = case["tokens"] / statistics.median(result["seconds"])
                points[case["length"]] = max(rate, points.get(case["length"], 0.0))
        for name, points in lines.items():
            axis.plot(
                *zip(*sorted(points.items()), strict=True), marker="o", label=name, lw=2.5 if name == OURS else 1
            )
        axis.set(title=work, xlabel="length (tokens)", ylabel="tokens/s", xscale="log", yscale="log")
        ticks = sorted({length for points in lines.values() for length in points})
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.xaxis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    save(canvas, file)


def loss_figure(report: dict[str, Any], file: Path) -> None:
    """The loss of both over the steps, one on the other."""
    canvas, axis = plt.subplots(figsize=(5.2, 4))
    for (name, curve), style in zip(report["curves"].items(), (("-", 4), ("--", 1.2)), strict=True):
        axis.plot(curve["step"], curve["loss"], style[0], lw=style[1], label=name)
    axis.set(xlabel="step", ylabel="loss (nats)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save(canvas, file)


def attention_figure(report: dict[str, Any], file: Path) -> None:
    """Time a token over the length, a line a backend."""
    canvas, axis = plt.subplots(figsize=(5.2, 4))
    lengths = [int(length) for length in report["nanoseconds"]]
    for name in attention_lengths.BACKENDS:
        times = [by_backend[name] / 1000 for by_backend in report["nanoseconds"].values()]
        axis.plot(lengths, times, marker="o", label=name)
    axis.set(xlabel="length (tokens)", ylabel="microseconds a token and head", xscale="log", yscale="log")
    axis.set_xticks(lengths, [f"{length:,}" for length in lengths], rotation=30)
    axis.xaxis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save(canvas, file)


def save(canvas: Figure, file: Path) -> None:
    """Writes a figure such that the same content gives the same file."""
    plt.rcParams["svg.hashsalt"] = "roformer"
    canvas.tight_layout()
    canvas.savefig(file, metadata={"Date": None})
    plt.close(canvas)
