"""Loss of a language model on the test split, at the training length."""

from typing import Any

from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.tasks.language_modeling import LanguageModeling, score_batches


@EVALUATORS.register("lm_loss")
class LanguageModelLoss(Evaluator):
    """Loss in nats a predicted token and accuracy, on tokens that are the same for every run."""

    version = 1
    tasks = (LanguageModeling,)

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        task = loaded.task
        assert isinstance(task, LanguageModeling)
        batches = task.evaluation_batches("test", self.config.batch_tokens)
        loss, accuracy, predicted = score_batches(loaded.model, batches)
        return {
            "loss": loss,
            "accuracy": accuracy,
            "predicted_tokens": predicted,
            "parameters": loaded.model.num_parameters(),
        }
