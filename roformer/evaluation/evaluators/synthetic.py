"""Accuracy on synthetic documents at the training length and beyond it, by where in the document the answer lies."""

from typing import Any, cast

import numpy as np
import torch

from roformer.data import SOURCES
from roformer.data.collators import pack
from roformer.data.packing import SPECIAL_TOKENS
from roformer.data.sampler import batches_by_length
from roformer.data.synthetic import SyntheticSource
from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.evaluation.runs import Run
from roformer.tasks.mlm import EVALUATION_SEED

_CELLS, _TRIALS = 8, 128  # places in a document, and documents of each
_STREAM = 3  # of random numbers


@EVALUATORS.register("synthetic")
class SyntheticAccuracy(Evaluator):
    """Draws new documents at each length, the same for all runs."""

    version = 1
    tasks = ("classification",)

    def fits(self, run: Run) -> bool:
        return super().fits(run) and issubclass(SOURCES[run.config["data"]["name"]], SyntheticSource)

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        """Returns ``by_length``, by words of a document: the accuracy in each of the cells, over 128 documents each
        (one cell of 1,024 documents where the source has no place to set)."""
        data = {key: value for key, value in loaded.run.config["data"].items() if not key.endswith("_fraction")}
        source = cast(SyntheticSource, SOURCES.build(data))
        limit = loaded.model.roformer.position.max_length
        by_length = {}
        for factor in sorted(self.config.length_factors):
            if limit is None or source.length * factor + SPECIAL_TOKENS <= limit:
                by_length[str(source.length * factor)] = self._accuracies(loaded, source, factor)
        return {"cell": source.cell, "by_length": by_length}

    def _accuracies(self, loaded: LoadedRun, source: SyntheticSource, factor: int) -> list[float]:
        tokenizer, names = loaded.task.tokenizer, loaded.task.corpus.label_names
        documents, labels = [], []
        for number in range(_CELLS * _TRIALS):
            rng = np.random.default_rng([EVALUATION_SEED, _STREAM, factor, number])
            place = (number // _TRIALS + rng.random()) / _CELLS if source.cell else None
            words, label = source.example(rng, source.length * factor, place)
            documents.append(np.array(tokenizer(" ".join(words))["input_ids"]))
            labels.append(names.index(label))
        predictions = np.empty(len(documents), dtype=np.int64)
        lengths = np.array([len(document) for document in documents])
        for batch in batches_by_length(lengths, self.config.batch_tokens):
            inputs = pack([documents[i] for i in batch])
            moved = {key: cast(torch.Tensor, value).to(loaded.model.device) for key, value in inputs.items()}
            predictions[batch] = loaded.model(**moved).logits.argmax(-1).cpu().numpy()
        correct = (predictions == labels).reshape(_CELLS if source.cell else 1, -1)
        return [float(accuracy) for accuracy in correct.mean(axis=1)]
