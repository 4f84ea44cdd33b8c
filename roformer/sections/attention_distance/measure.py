"""Measures how far each head of one model looks, on test rows."""

import torch

from roformer.results.records import Settings
from roformer.sections.attention_distance import Metrics
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun, uses_softmax
from roformer.sections.length_extrapolation.measure import labeled_windows
from roformer.sections.lm_loss import FAMILY
from roformer.tasks.language_modeling import LanguageModeling

_BATCH = 16


@EVALUATORS.register("attention_distance")
class AttentionDistance(Evaluator[LanguageModeling, Metrics]):
    """Mean of |m - n| under the weights of each head, over all queries m, at the training length."""

    version = 1
    families = (FAMILY,)
    metrics = Metrics

    def fits(self, config: Settings) -> bool:
        return uses_softmax(config)

    def evaluate(self, run: LoadedRun[LanguageModeling]) -> Metrics:
        task, model = run.task, run.model
        rows = [task.add_special_tokens(*window)[0] for window in labeled_windows(task, 1)]
        length = task.sequence_length
        uniform = (length**2 - 1) / (3 * length) if task.is_bidirectional else (length - 1) / 4
        if not rows:
            return Metrics(0, (), uniform)
        places = torch.arange(len(rows[0]), device=model.device)
        distances = (places[:, None] - places).abs()
        layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
        total = torch.zeros(layers, heads, device=model.device)
        for start in range(0, len(rows), _BATCH):
            input_ids = torch.stack([torch.from_numpy(row) for row in rows[start : start + _BATCH]])
            # (layers, B, H, L, L) -> a sum over rows of the mean over queries
            weights = model.roformer(input_ids.to(model.device), output_attentions=True).attentions
            total += torch.stack([(each.float() * distances).sum(-1).mean(-1).sum(0) for each in weights])
        return Metrics(len(rows), tuple(map(tuple, (total / len(rows)).tolist())), uniform)
