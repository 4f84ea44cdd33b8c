"""Measures the test loss of one language model."""

from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun
from roformer.sections.lm_loss import FAMILY, Metrics
from roformer.tasks.language_modeling import LanguageModeling, score_batches


@EVALUATORS.register("lm_loss")
class LanguageModelLoss(Evaluator[LanguageModeling, Metrics]):
    """Loss in nats per predicted token and accuracy, on tokens that are the same for every run."""

    version = 1
    families = (FAMILY,)
    metrics = Metrics

    def evaluate(self, run: LoadedRun[LanguageModeling]) -> Metrics:
        batches = run.task.evaluation_batches("test", self.config.batch_tokens)
        loss, accuracy, predicted = score_batches(run.model, batches)
        return Metrics(loss, accuracy, predicted, run.model.num_parameters(), run.task.unit)
