"""Classification of documents (RoFormer paper, section 4.5.4: long texts) or text pairs (section 4.3: GLUE)."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from roformer.errors import UserError
from roformer.extras import require
from roformer.tasks._base import TASKS
from roformer.tasks.sequences import Example, SequenceTask

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@TASKS.register("classification")
class Classification(SequenceTask):
    """Predicts the label of a document of one or several texts.

    Args:
        max_length, pooling, classifier_dropout: as in ``SequenceTask``.

    Raises:
        UserError: if there are fewer than two labels, a label does not occur in the train split, or as in
            ``SequenceTask``.
    """

    title, unit, family = "Classification", "document", "classification"

    best_metric = "validation_accuracy"
    greater_is_better = True

    def check_data(self) -> None:
        names = self.corpus.label_names
        if len(names) < 2:
            found = "; ".join([str(len(names)), *self.corpus.warnings])
            raise UserError(
                f"classification needs two labels or more, the data has {found}; use data=docs_topics, or "
                "data=labeled with data.path, data.text_column and data.label_column"
            )
        _check_names(names)
        known = set(self.labels("train").tolist())
        for split in self.corpus.splits:
            for label in sorted(set(self.labels(split).tolist()) - known):
                raise UserError(
                    f"label '{names[label]}' of the {split} split is not in the train split (labels there: "
                    f"{', '.join(names[each] for each in sorted(known))}); change the data or its split"
                )

    @classmethod
    def check(cls, settings: dict[str, Any]) -> None:
        super().check(settings)
        require("sklearn", "task=classification")

    def model_settings(self) -> dict[str, Any]:
        names = self.corpus.label_names
        labels = {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}
        return {**super().model_settings(), **labels, "problem_type": "single_label_classification"}

    def num_items(self, step: int, batch_size: int) -> int:
        return batch_size

    def examples(self, split: str, index: int) -> list[Example]:
        return [(self.add_special_tokens(*self.texts(split, index)), int(self.labels(split)[index]))]

    def token_counts(self, split: str) -> "csr_matrix":
        """Returns the (documents, vocabulary) counts of each token in the truncated documents of a split."""
        from scipy.sparse import csr_matrix

        indices = range(len(self.corpus.splits[split]))
        documents = [self.add_special_tokens(*self.texts(split, index)) for index in indices]
        starts = np.concatenate(([0], np.cumsum([len(document) for document in documents])))
        tokens = np.concatenate(documents)
        shape = (len(documents), len(self.tokenizer))
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


def _check_names(names: Sequence[str]) -> None:
    """Raises ``UserError`` for labels that stand for no class, or for the same one."""
    if strange := [name for name in names if name.strip().lower() in ("", "nan")]:
        raise UserError(f"'{strange[0]}' is no label of a class; give those documents a label, or remove them")
    if "-1" in names and all(name.isdigit() for name in names if name != "-1"):
        raise UserError("label '-1' usually stands for a hidden label; remove those documents, or rename the class")
    first: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"^(\d+)\.0+$", r"\1", name.strip())
        if plain in first:
            raise UserError(f"labels '{first[plain]}' and '{name}' would be two classes; write them in the same way")
        first[plain] = name
