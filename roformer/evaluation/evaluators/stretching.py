"""A RoPE checkpoint on texts longer than it was trained on, its rotations scaled without any training.

Each scaling is set to the length at hand, as its paper does; the windows and the predicted tokens are those of
``length_extrapolation``.
"""

from inspect import signature
from typing import Any

from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention
from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.evaluation.evaluators.length_extrapolation import labelled_windows, window_batches
from roformer.evaluation.runs import Run
from roformer.position import POSITION_ENCODINGS, PositionEncoding
from roformer.tasks.language_modeling import LanguageModeling, score_batches

_SCALINGS = ("rope", "rope_linear", "rope_ntk", "rope_dynamic", "rope_yarn")
_DYNAMIC_FACTOR = 2.0  # with 1 it would be rope_ntk here, where all texts have one length


@EVALUATORS.register("stretching")
class Stretching(Evaluator):
    """Loss at 2x, 4x, ... the training length under each scaling; of runs with ``rope`` only."""

    version = 1
    tasks = (LanguageModeling,)

    def fits(self, run: Run) -> bool:
        position = run.config["position"]
        softmax = issubclass(ATTENTION_BACKENDS[run.config["attention"]["name"]], SoftmaxAttention)
        return (
            super().fits(run)
            and softmax
            and position["name"] == "rope"
            and position.get("frequency_band", "all") == "all"
        )

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        """Returns loss by scaling, by tokens of a window."""
        task, encoder = loaded.task, loaded.model.roformer
        assert isinstance(task, LanguageModeling)
        factors = [factor for factor in sorted(self.config.length_factors) if factor > 1]
        windows = labelled_windows(task, max(self.config.length_factors))
        losses: dict[str, dict[str, float]] = {name: {} for name in _SCALINGS if windows and factors}
        for name, by_length in losses.items():
            for factor in factors:
                with encoder.using_position(self._scaled(loaded, name, factor)):
                    batches = window_batches(task, windows, factor, self.config.batch_tokens)
                    by_length[str(task.sequence_length * factor)] = score_batches(loaded.model, batches)[0]
        return {"by_scaling": losses}

    @staticmethod
    def _scaled(loaded: LoadedRun, name: str, factor: int) -> PositionEncoding:
        """Returns the run's own RoPE, scaled."""
        assert isinstance(loaded.task, LanguageModeling)
        settings = {
            **loaded.run.config["position"],
            "factor": _DYNAMIC_FACTOR if name == "rope_dynamic" else float(factor),
            "original_max_position_embeddings": loaded.task.sequence_length,
        }
        taken = signature(POSITION_ENCODINGS[name]).parameters
        settings = {key: value for key, value in settings.items() if key in taken}
        return POSITION_ENCODINGS.build({**settings, "name": name}, loaded.model.config.shape)
