"""Measures queries and keys of one RoPE model: their scores had they stood at another distance, and the bound."""

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor

from roformer.model import RoFormerPreTrainedModel
from roformer.results.records import Settings
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun, uses_softmax
from roformer.sections.length_extrapolation.measure import labeled_windows
from roformer.sections.long_term_decay import FAMILY, Metrics
from roformer.tasks.language_modeling import LanguageModeling, evenly_spaced
from roformer.theory import Complex, score_bounds, scores_at

_ROWS, _PAIRS = 16, 64  # of each row
_DISTANCES = range(257)  # as Figure 2


@EVALUATORS.register("long_term_decay")
class LongTermDecay(Evaluator[LanguageModeling, Metrics]):
    """Queries and keys of masked test rows, before rotation: random pairs of tokens of all heads and layers."""

    version = 2
    families = (FAMILY,)
    metrics = Metrics

    def fits(self, config: Settings) -> bool:
        position = config["position"]
        whole = (position.get("partial_rotary_factor"), position.get("frequency_band")) == (1.0, "all")
        return uses_softmax(config) and position["name"] == "rope" and whole

    def evaluate(self, run: LoadedRun[LanguageModeling]) -> Metrics:
        windows = labeled_windows(run.task, 1)
        rows = [run.task.add_special_tokens(*windows[place])[0] for place in evenly_spaced(len(windows), _ROWS)]
        if not rows:
            return Metrics(0, (), (), ())
        position = run.config["position"]
        products = _products(run, np.stack(rows), position["layout"])
        scores = np.abs(scores_at(products, _DISTANCES, base=position["rope_theta"])).mean(axis=0)
        bounds = score_bounds(products, _DISTANCES, base=position["rope_theta"]).mean(axis=0)
        return Metrics(len(products), tuple(_DISTANCES), tuple(scores.tolist()), tuple(bounds.tolist()))


def _products(run: LoadedRun[LanguageModeling], input_ids: np.ndarray[Any, Any], layout: str) -> Complex:
    """Returns h_i of random pairs of tokens of each row, (pairs, D/2), over all heads and layers."""
    rows, length = input_ids.shape
    draw = torch.from_numpy(np.random.default_rng(0).integers(length, size=(2, rows, _PAIRS)))
    row = torch.arange(rows)[:, None]
    products = []
    for queries, keys in _queries_and_keys(run.model, torch.from_numpy(input_ids)):
        query, key = _as_complex(queries[row, draw[0]], layout), _as_complex(keys[row, draw[1]], layout)
        products.append((query * key.conj()).flatten(0, -2))
    together: Complex = torch.cat(products).numpy()
    return together


def _queries_and_keys(model: RoFormerPreTrainedModel, input_ids: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Returns the queries and keys of each layer before they are rotated, (B, L, H, D) each, in float64 on the CPU."""
    seen: list[Tensor] = []
    with ExitStack() as stack:
        for layer in model.roformer.layers:
            hook = layer.query_key_value.register_forward_hook(lambda _, inputs, output: seen.append(output))
            stack.callback(hook.remove)
        model.roformer(input_ids.to(model.device))
    heads = model.config.num_attention_heads
    split = [projected.double().cpu().unflatten(-1, (3, heads, -1)) for projected in seen]
    return [(each[..., 0, :, :], each[..., 1, :, :]) for each in split]


def _as_complex(channels: Tensor, layout: str) -> Tensor:
    """Returns the (..., D/2) rotated pairs of channels as complex numbers."""
    if layout == "interleaved":
        return torch.view_as_complex(channels.unflatten(-1, (-1, 2)).contiguous())
    return torch.complex(*channels.chunk(2, dim=-1))
