"""Measures one classifier on new synthetic documents of each length, the same for all runs."""

from collections import Counter
from typing import cast

import numpy as np

from roformer.data import SOURCES
from roformer.data.collators import pack
from roformer.data.corpus import source_settings
from roformer.data.packing import FRAME_TOKENS
from roformer.data.sampler import batches_by_length
from roformer.data.sources import LabeledWords, SyntheticSource
from roformer.errors import UserError
from roformer.results.records import Settings
from roformer.runtime.inference import evaluating
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun
from roformer.sections.synthetic import FAMILY, Metrics
from roformer.tasks.classification import Classification
from roformer.tasks.language_modeling import EVALUATION_SEED

_CELLS, _TRIALS = 8, 128  # places in a document, and documents of each
_STREAM = 3  # of random numbers


@EVALUATORS.register("synthetic")
class SyntheticAccuracy(Evaluator[Classification, Metrics]):
    """Accuracy in each cell, over 128 documents each; one cell of 1,024 documents where the source has no place to
    set."""

    version = 2
    families = (FAMILY,)
    metrics = Metrics

    def fits(self, config: Settings) -> bool:
        return issubclass(SOURCES[config["data"]["name"]], SyntheticSource)

    def evaluate(self, run: LoadedRun[Classification]) -> Metrics:
        """Raises ``UserError`` if a label of these documents was none of training's."""
        source = cast(SyntheticSource, SOURCES.build(source_settings(run.config["data"])))
        limit = run.model.roformer.position.traits.max_length
        by_length: dict[int, tuple[float, ...]] = {}
        baselines: dict[int, dict[str, float]] = {}
        for factor in sorted(self.config.length_factors):
            examples, length = _examples(source, factor), source.length * factor
            baselines[length] = _baselines(source, examples)
            if limit is None or length + FRAME_TOKENS <= limit:
                by_length[length] = self._accuracies(run, source, examples)
        return Metrics(source.cell, by_length, baselines)

    def _accuracies(
        self, run: LoadedRun[Classification], source: SyntheticSource, examples: list[LabeledWords]
    ) -> tuple[float, ...]:
        tokenizer, names = run.task.tokenizer, run.task.corpus.label_names
        if unknown := {label for _, label in examples} - set(names):
            raise UserError(
                f"{run.folder} was trained on too few documents: none of them had the label '{min(unknown)}'; raise "
                "data.documents and train anew"
            )
        special = tokenizer.cls_token_id, tokenizer.sep_token_id
        documents = [
            np.array([special[0], *tokenizer(" ".join(words), add_special_tokens=False)["input_ids"], special[1]])
            for words, _ in examples
        ]
        labels = [names.index(label) for _, label in examples]
        predictions = np.empty(len(documents), dtype=np.int64)
        lengths = np.array([len(document) for document in documents])
        with evaluating(run.model) as on_device:
            for batch in batches_by_length(lengths, self.config.batch_tokens):
                inputs = on_device(pack([documents[i] for i in batch]))
                predictions[batch] = run.model(**inputs).logits.argmax(-1).cpu().numpy()
        correct = (predictions == labels).reshape(_CELLS if source.cell else 1, -1)
        return tuple(float(accuracy) for accuracy in correct.mean(axis=1))


def _examples(source: SyntheticSource, factor: int) -> list[LabeledWords]:
    """Draws the documents of one length, those of a cell next to each other."""
    examples = []
    for number in range(_CELLS * _TRIALS):
        rng = np.random.default_rng([EVALUATION_SEED, _STREAM, factor, number])
        place = (number // _TRIALS + rng.random()) / _CELLS if source.cell else None
        examples.append(source.example(rng, source.length * factor, place))
    return examples


def _baselines(source: SyntheticSource, examples: list[LabeledWords]) -> dict[str, float]:
    """Returns baseline -> accuracy: the most frequent label, and the source's own baseline where it has one."""
    counts = Counter(label for _, label in examples)
    found = {"most frequent label": counts.most_common(1)[0][1] / len(examples)}
    if source.baseline_name:
        right = [source.baseline_label(words) == label for words, label in examples]
        found[source.baseline_name] = sum(right) / len(examples)
    return found
