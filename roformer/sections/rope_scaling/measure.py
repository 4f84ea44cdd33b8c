"""Measures one RoPE model with scaled rotations, each scaling set to the length at hand, as its paper does.

The windows and the predicted tokens are those of ``length_extrapolation``.
"""

from inspect import signature

from roformer.position import POSITION_ENCODINGS, PositionEncoding
from roformer.results.records import Settings
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun, uses_softmax
from roformer.sections.length_extrapolation.measure import labeled_windows, window_batches
from roformer.sections.rope_scaling import UNSCALED, Metrics
from roformer.tasks.language_modeling import LanguageModeling, score_batches

_SCALINGS = (UNSCALED, "rope_linear", "rope_ntk", "rope_dynamic", "rope_yarn")
_DYNAMIC_FACTOR = 2.0  # with 1 it would be rope_ntk here, where all texts have one length


@EVALUATORS.register("rope_scaling")
class RopeScaling(Evaluator[LanguageModeling, Metrics]):
    """Loss at 2x, 4x, ... the training length under each scaling; of runs with ``rope`` only."""

    version = 1
    families = ("language_modeling",)
    metrics = Metrics

    def fits(self, config: Settings) -> bool:
        position = config["position"]
        return uses_softmax(config) and position["name"] == UNSCALED and position.get("frequency_band", "all") == "all"

    def evaluate(self, run: LoadedRun[LanguageModeling]) -> Metrics:
        factors = [factor for factor in sorted(self.config.length_factors) if factor > 1]
        windows = labeled_windows(run.task, max(self.config.length_factors))
        losses: dict[str, dict[int, float]] = {name: {} for name in _SCALINGS if windows and factors}
        for name, by_length in losses.items():
            for factor in factors:
                with run.model.roformer.using_position(_scaled(run, name, factor)):
                    batches = window_batches(run.task, windows, factor, self.config.batch_tokens)
                    by_length[run.task.sequence_length * factor] = score_batches(run.model, batches)[0]
        return Metrics(losses)


def _scaled(run: LoadedRun[LanguageModeling], name: str, factor: int) -> PositionEncoding:
    """Returns the run's own RoPE, scaled."""
    settings = {
        **run.config["position"],
        "factor": _DYNAMIC_FACTOR if name == "rope_dynamic" else float(factor),
        "original_max_position_embeddings": run.task.sequence_length,
    }
    accepted = signature(POSITION_ENCODINGS[name]).parameters
    settings = {key: value for key, value in settings.items() if key in accepted}
    return POSITION_ENCODINGS.build({**settings, "name": name}, run.model.config.shape)
