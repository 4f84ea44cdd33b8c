"""Classification of documents (RoFormer paper, section 4.5.4: long texts) or text pairs (section 4.3: GLUE)."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from roformer.data.tokenize import vocabulary_size
from roformer.errors import UserError
from roformer.extras import require
from roformer.tasks._base import TASKS
from roformer.tasks.sequences import SequenceTask

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_LISTED, _BRIEF = 10, 40  # labels in a message, and characters of each


@TASKS.register("classification")
class Classification(SequenceTask):
    """Predicts the label of a document of one or several texts.

    Args:
        max_length, long_documents, pooling, classifier_dropout: as in ``SequenceTask``.

    Raises:
        UserError: if there are fewer than two labels, a label does not occur in the train split, or as in
            ``SequenceTask``.
    """

    title, unit, family = "Classification", "document", "classification"

    best_metric = "validation_accuracy"
    greater_is_better = True
    problem_type = "single_label_classification"

    def check_data(self) -> None:
        names = self.corpus.label_names
        if len(names) < 2:
            found = "; ".join([str(len(names)) + (f" ('{names[0]}')" if names else ""), *self.corpus.warnings])
            raise UserError(
                f"classification needs two labels or more, the data has {found}; use data=docs_topics, or "
                "data=labeled with data.path, data.text_column and data.label_column"
            )
        labels = np.concatenate([self.labels(split) for split in self.corpus.splits])
        _check_names(dict(zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True)))
        known = set(self.labels("train").tolist())
        for split in self.corpus.splits:
            for label in sorted(set(self.labels(split).tolist()) - known):
                there = [names[each] for each in sorted(known)]
                more = f", and {len(there) - _LISTED:,} more" if len(there) > _LISTED else ""
                raise UserError(
                    f"label '{_brief(names[label])}' of the {split} split is not in the train split (labels there: "
                    f"{', '.join(map(_brief, there[:_LISTED]))}{more}); change the data or its split, "
                    "or, if splits are drawn, set data.rare_classes=train"
                )

    @classmethod
    def check(cls, settings: dict[str, Any]) -> None:
        super().check(settings)
        require("sklearn", "task=classification")

    def model_settings(self) -> dict[str, Any]:
        names = self.corpus.label_names
        labels = {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}
        return {**super().model_settings(), **labels}

    def num_items(self, step: int, batch_size: int) -> int:
        return batch_size

    @staticmethod
    def statement(logits: NDArray[np.float32], names: Sequence[str]) -> dict[str, Any]:
        (scores,) = logits
        probabilities = softmax(scores).tolist()
        return {"label": names[int(scores.argmax())], "probabilities": dict(zip(names, probabilities, strict=True))}

    def targets(self, split: str, index: int) -> list[int]:
        return [int(self.labels(split)[index])]

    def token_counts(self, split: str) -> "csr_matrix":
        """Returns the (documents, vocabulary) counts of each token in what is read of the documents of a split."""
        from scipy.sparse import csr_matrix

        indices = range(len(self.corpus.splits[split]))
        documents = [self.add_special_tokens(*self.texts(split, index)) for index in indices]
        starts = np.concatenate(([0], np.cumsum([len(document) for document in documents])))
        tokens = np.concatenate(documents)
        shape = (len(documents), vocabulary_size(self.tokenizer))
        counts = csr_matrix((np.ones(len(tokens)), tokens, starts), shape=shape)
        counts.sum_duplicates()
        return counts

    def predict(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> tuple[NDArray[np.int64], float]:
        """Returns the (documents,) predicted classes of a split, and the mean loss in nats."""
        scores, loss = self.score(model, split, batch_tokens)
        return scores[:, 0].argmax(-1), loss

    def answers(self, split: str) -> NDArray[np.int64]:
        """Returns the (documents,) correct classes of a split."""
        return self.labels(split)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Returns loss (nats per document), accuracy and macro-averaged F1 of a split."""
        from sklearn.metrics import f1_score

        predictions, loss = self.predict(model, split)
        labels = self.answers(split)
        return {
            f"{split}_loss": loss,
            f"{split}_accuracy": float((predictions == labels).mean()),
            f"{split}_macro_f1": float(f1_score(labels, predictions, average="macro")),
        }


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns probabilities along the last axis, computed in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(-1, keepdims=True)
    return probabilities


def _brief(name: str) -> str:
    """Returns a label on one line: where the column is the wrong one, labels are whole texts."""
    return " ".join(name[:_BRIEF].split()) + ("..." if len(name) > _BRIEF else "")


def _check_names(documents: Mapping[str, int]) -> None:
    """Raises ``UserError`` for labels that stand for no class, or for the same one.

    Args:
        documents: label -> how many documents have it.
    """
    if strange := [name for name in documents if name.strip().lower() in ("", "nan")]:
        raise UserError(
            f"'{strange[0]}', the label of {documents[strange[0]]:,} documents, is no class; give them a label, or "
            "remove them"
        )
    if "-1" in documents and all(name.isdigit() for name in documents if name != "-1"):
        raise UserError(
            f"label '-1' of {documents['-1']:,} documents usually stands for a hidden one; remove them, or rename the "
            "class"
        )
    first: dict[str, str] = {}
    for name in documents:
        plain = re.sub(r"^(\d+)\.0+$", r"\1", name.strip())
        if plain in first:
            counts = " and ".join(f"'{each}' ({documents[each]:,} documents)" for each in (first[plain], name))
            raise UserError(f"labels {counts} would be two classes; write them in the same way")
        first[plain] = name
