"""Measures the vectors of tokens of one model."""

from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun
from roformer.sections.lm_loss import FAMILY
from roformer.sections.toy import Metrics
from roformer.tasks.language_modeling import LanguageModeling


@EVALUATORS.register("toy")
class VectorLengths(Evaluator[LanguageModeling, Metrics]):
    version = 1
    families = (FAMILY,)
    metrics = Metrics

    def evaluate(self, run: LoadedRun[LanguageModeling]) -> Metrics:
        return Metrics(run.model.get_input_embeddings().weight.norm(dim=-1).mean().item())
