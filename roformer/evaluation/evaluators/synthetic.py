"""Accuracy on synthetic documents at the training length and beyond it, by where in the document the answer lies."""

from collections import Counter
from typing import Any, cast

import numpy as np
import torch

from roformer.data import SOURCES
from roformer.data.collators import pack
from roformer.data.packing import FRAME_TOKENS
from roformer.data.sampler import batches_by_length
from roformer.data.sources import LabeledWords, SyntheticSource
from roformer.errors import UserError
from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.evaluation.runs import Run
from roformer.tasks.classification import Classification
from roformer.tasks.language_modeling import EVALUATION_SEED

_CELLS, _TRIALS = 8, 128  # places in a document, and documents of each
_STREAM = 3  # of random numbers


@EVALUATORS.register("synthetic")
class SyntheticAccuracy(Evaluator):
    """Draws new documents at each length, the same for all runs."""

    version = 2
    tasks = (Classification,)

    def fits(self, run: Run) -> bool:
        return super().fits(run) and issubclass(SOURCES[run.config["data"]["name"]], SyntheticSource)

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        """Returns ``by_length``, by words of a document: the accuracy in each of the cells, over 128 documents each
        (one cell of 1,024 documents where the source has no place to set); and ``guesses``, the accuracy of
        guesses that do not see the order of the words.

        Raises:
            UserError: if a label of these documents was none of training's.
        """
        data = {key: value for key, value in loaded.run.config["data"].items() if not key.endswith("_fraction")}
        source = cast(SyntheticSource, SOURCES.build(data))
        limit = loaded.model.roformer.position.traits.max_length
        by_length: dict[str, list[float]] = {}
        guesses: dict[str, dict[str, float]] = {}
        for factor in sorted(self.config.length_factors):
            examples = _examples(source, factor)
            length = str(source.length * factor)
            guesses[length] = _guesses(source, examples)
            if limit is None or source.length * factor + FRAME_TOKENS <= limit:
                by_length[length] = self._accuracies(loaded, source, examples)
        return {"cell": source.cell, "by_length": by_length, "guesses": guesses}

    def _accuracies(self, loaded: LoadedRun, source: SyntheticSource, examples: list[LabeledWords]) -> list[float]:
        tokenizer, names = loaded.task.tokenizer, loaded.task.corpus.label_names
        if unknown := {label for _, label in examples} - set(names):
            raise UserError(
                f"{loaded.run.folder} was trained on too few documents: none of them had the label "
                f"'{min(unknown)}'; raise data.documents and train anew"
            )
        special = tokenizer.cls_token_id, tokenizer.sep_token_id
        documents = [
            np.array([special[0], *tokenizer(" ".join(words), add_special_tokens=False)["input_ids"], special[1]])
            for words, _ in examples
        ]
        labels = [names.index(label) for _, label in examples]
        predictions = np.empty(len(documents), dtype=np.int64)
        lengths = np.array([len(document) for document in documents])
        for batch in batches_by_length(lengths, self.config.batch_tokens):
            inputs = pack([documents[i] for i in batch])
            moved = {key: cast(torch.Tensor, value).to(loaded.model.device) for key, value in inputs.items()}
            predictions[batch] = loaded.model(**moved).logits.argmax(-1).cpu().numpy()
        correct = (predictions == labels).reshape(_CELLS if source.cell else 1, -1)
        return [float(accuracy) for accuracy in correct.mean(axis=1)]


def _examples(source: SyntheticSource, factor: int) -> list[LabeledWords]:
    """Draws the documents of one length, those of a cell next to each other."""
    examples = []
    for number in range(_CELLS * _TRIALS):
        rng = np.random.default_rng([EVALUATION_SEED, _STREAM, factor, number])
        place = (number // _TRIALS + rng.random()) / _CELLS if source.cell else None
        examples.append(source.example(rng, source.length * factor, place))
    return examples


def _guesses(source: SyntheticSource, examples: list[LabeledWords]) -> dict[str, float]:
    """Returns guess -> accuracy: the most frequent label, and the source's own guess where it has one."""
    counts = Counter(label for _, label in examples)
    guesses = {"most frequent label": counts.most_common(1)[0][1] / len(examples)}
    if source.guess:
        right = [source.best_guess(words) == label for words, label in examples]
        guesses[source.guess] = sum(right) / len(examples)
    return guesses
