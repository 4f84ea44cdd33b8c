"""How far each head looks: the mean distance between a token and what it attends to, on test rows."""

from typing import Any

import torch

from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention
from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.evaluation.evaluators.length_extrapolation import labelled_windows
from roformer.evaluation.runs import Run
from roformer.tasks.language_modeling import LanguageModeling

_BATCH = 16


@EVALUATORS.register("attention_distance")
class AttentionDistance(Evaluator):
    """Mean of |m - n| under the weights of each head, over all queries m, at the training length.

    A head that looks at all tokens alike has about a third of the length, in a causal model a quarter.
    """

    version = 1
    tasks = (LanguageModeling,)

    def fits(self, run: Run) -> bool:
        return super().fits(run) and issubclass(ATTENTION_BACKENDS[run.config["attention"]["name"]], SoftmaxAttention)

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        """Returns ``tokens``, the mean distance (layers, heads), and how many ``rows`` it is a mean of."""
        task, model = loaded.task, loaded.model
        assert isinstance(task, LanguageModeling)
        rows = [task.add_special_tokens(*window)[0] for window in labelled_windows(task, 1)]
        if not rows:
            return {"rows": 0, "tokens": []}
        places = torch.arange(len(rows[0]), device=model.device)
        distances = (places[:, None] - places).abs()
        total = torch.zeros(model.config.num_hidden_layers, model.config.num_attention_heads, device=model.device)
        for start in range(0, len(rows), _BATCH):
            input_ids = torch.stack([torch.from_numpy(row) for row in rows[start : start + _BATCH]])
            attentions = model.roformer(input_ids.to(model.device), output_attentions=True).attentions
            # (layers, B, H, L, L) -> a sum over rows of the mean over queries
            total += torch.stack([(w.float() * distances).sum(-1).mean(-1).sum(0) for w in attentions])
        return {"rows": len(rows), "tokens": (total / len(rows)).tolist()}
