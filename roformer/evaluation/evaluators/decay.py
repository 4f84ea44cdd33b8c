"""How scores of a trained RoPE model fall with distance, beside the paper's bound (section 3.4.3, eq. 35-37)."""

from typing import Any

import numpy as np
import torch

from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention
from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.evaluation.evaluators.length_extrapolation import labelled_windows
from roformer.evaluation.runs import Run
from roformer.tasks.language_modeling import LanguageModeling, evenly_spaced
from roformer.theory import Complex, score_bounds, scores_at

_ROWS, _PAIRS = 16, 64  # of each row
_DISTANCES = range(257)  # as Figure 2


@EVALUATORS.register("decay")
class Decay(Evaluator):
    """Queries and keys of masked test rows, before they are rotated: their mean |q.k| had they stood at another
    distance, and the mean of its bound, over random pairs of tokens of all heads and layers."""

    version = 2
    tasks = (LanguageModeling,)

    def fits(self, run: Run) -> bool:
        position = run.config["position"]
        whole = (position.get("partial_rotary_factor"), position.get("frequency_band")) == (1.0, "all")
        softmax = issubclass(ATTENTION_BACKENDS[run.config["attention"]["name"]], SoftmaxAttention)
        return super().fits(run) and softmax and position["name"] == "rope" and whole

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        """Returns ``scores`` and ``bounds`` at each of the ``distances``, in units of q.k, and how many ``pairs`` they
        are means of."""
        task = loaded.task
        assert isinstance(task, LanguageModeling)
        windows = labelled_windows(task, 1)
        rows = [task.add_special_tokens(*windows[place])[0] for place in evenly_spaced(len(windows), _ROWS)]
        if not rows:
            return {"pairs": 0, "distances": [], "scores": [], "bounds": []}
        position = loaded.run.config["position"]
        products = _products(loaded, np.stack(rows), position["layout"])
        return {
            "pairs": len(products),
            "distances": list(_DISTANCES),
            "scores": np.abs(scores_at(products, _DISTANCES, base=position["rope_theta"])).mean(axis=0).tolist(),
            "bounds": score_bounds(products, _DISTANCES, base=position["rope_theta"]).mean(axis=0).tolist(),
        }


def _products(loaded: LoadedRun, input_ids: np.ndarray[Any, Any], layout: str) -> Complex:
    """Returns h_i of random pairs of tokens of each row, (pairs, D/2), over all heads and layers."""
    model, seen = loaded.model, []
    hooks = [
        layer.query_key_value.register_forward_hook(lambda layer, inputs, output: seen.append(output.double().cpu()))
        for layer in model.roformer.layers
    ]
    try:
        model.roformer(torch.from_numpy(input_ids).to(model.device))
    finally:
        for hook in hooks:
            hook.remove()
    rows, length = input_ids.shape
    draw = torch.from_numpy(np.random.default_rng(0).integers(length, size=(2, rows, _PAIRS)))
    row = torch.arange(rows)[:, None]
    products = []
    for projected in seen:  # (rows, length, 3 C) -> (rows, length, 3, H, D)
        heads = projected.unflatten(-1, (3, model.config.num_attention_heads, -1))
        query, key = heads[row, draw[0], 0], heads[row, draw[1], 1]
        products.append((_complex(query, layout) * _complex(key, layout).conj()).flatten(0, -2))
    together: Complex = torch.cat(products).numpy()
    return together


def _complex(channels: torch.Tensor, layout: str) -> torch.Tensor:
    """Returns (..., D/2) pairs of channels as complex numbers."""
    if layout == "interleaved":
        return torch.view_as_complex(channels.unflatten(-1, (-1, 2)).contiguous())
    return torch.complex(*channels.chunk(2, dim=-1))
