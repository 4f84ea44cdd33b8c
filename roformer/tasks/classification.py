"""Classification of whole documents, up to a length (RoFormer paper, section 4.5.4: long texts)."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import IntArray, pack
from roformer.data.packing import SPECIAL_TOKENS
from roformer.data.preprocess import TokenizedCorpus
from roformer.data.sampler import batches_by_length
from roformer.errors import UserError
from roformer.model import RoFormerForSequenceClassification
from roformer.tasks._base import TASKS, Batch, Task

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@TASKS.register("classification")
class Classification(Task):
    """Predicts the label of a document from its first tokens.

    Args:
        max_length: tokens that are read of each document, special ones included; the rest is cut off.
        pooling: what the classifier reads: ``mean`` over all tokens, as in the paper's script, or ``cls``.
        classifier_dropout: dropout before the classifier.

    Raises:
        UserError: if the data has no labels, or fewer than two.
    """

    model_class = RoFormerForSequenceClassification
    best_metric = "validation_accuracy"
    greater_is_better = True

    def __init__(
        self,
        corpus: TokenizedCorpus,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        *,
        max_length: int,
        pooling: str,
        classifier_dropout: float,
    ) -> None:
        super().__init__(corpus, tokenizer, seed)
        if len(corpus.label_names) < 2:
            raise UserError(
                f"classification needs data with two labels or more, this has {len(corpus.label_names)}; use "
                "data=docs_topics, or data=labelled with data.path, data.text_column and data.label_column"
            )
        if max_length <= SPECIAL_TOKENS:
            raise UserError(f"task.max_length must be above {SPECIAL_TOKENS}, got {max_length}")
        self.max_length = max_length
        self.pooling, self.classifier_dropout = pooling, classifier_dropout
        self.rows = len(corpus.splits["train"])

    def model_settings(self) -> dict[str, Any]:
        names = self.corpus.label_names
        return {
            "pooling": self.pooling,
            "classifier_dropout": self.classifier_dropout,
            "id2label": dict(enumerate(names)),
            "label2id": {name: number for number, name in enumerate(names)},
        }

    def num_items(self, step: int, batch_size: int) -> int:
        return batch_size

    def batch(self, step: int, batch_size: int, *, share: int, shares: int) -> Batch:
        return self._collate("train", self._rows(step, batch_size)[share::shares])

    def _document(self, split: str, index: int) -> IntArray:
        tokens = self.corpus.splits[split].document(index)[: self.max_length - SPECIAL_TOKENS]
        return np.array([self.tokenizer.cls_token_id, *tokens, self.tokenizer.sep_token_id], dtype=np.int64)

    def _collate(self, split: str, indices: list[int]) -> Batch:
        # longest first, as in masked language modelling
        documents = sorted(
            ((self._document(split, index), index) for index in indices), key=lambda pair: -len(pair[0])
        )
        labels = self.corpus.splits[split].labels
        assert labels is not None
        inputs = pack([document for document, _ in documents])
        targets = torch.from_numpy(labels[[index for _, index in documents]])
        return Batch({**inputs, "labels": targets}, inputs["input_ids"].shape[1])

    def token_counts(self, split: str) -> "csr_matrix":
        """Returns how often each document of a split has each token, among those that a model reads of it:
        (documents, vocabulary)."""
        from scipy.sparse import csr_matrix

        documents = [self._document(split, index) for index in range(len(self.corpus.splits[split]))]
        starts = np.concatenate(([0], np.cumsum([len(document) for document in documents])))
        tokens = np.concatenate(documents)
        shape = (len(documents), len(self.tokenizer))
        counts = csr_matrix((np.ones(len(tokens)), tokens, starts), shape=shape)
        counts.sum_duplicates()
        return counts

    @torch.no_grad()
    def predict(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> tuple[NDArray[np.int64], float]:
        """Returns the (documents,) predicted classes of a split in its order, and the mean loss in nats."""
        was_training = model.training
        model.eval()
        device = next(model.parameters()).device
        data = self.corpus.splits[split]
        lengths = np.minimum(np.diff(data.offsets) + SPECIAL_TOKENS, self.max_length)
        predictions, loss = np.empty(len(data), dtype=np.int64), 0.0
        for indices in batches_by_length(lengths, batch_tokens):
            batch = self._collate(split, indices)  # whose order is that of the indices: both go by falling length
            inputs = {key: value.to(device) for key, value in batch.inputs.items()}
            logits = model(**inputs).logits.float()
            loss += F.cross_entropy(logits, inputs["labels"], reduction="sum").item()
            predictions[indices] = logits.argmax(-1).cpu().numpy()
        model.train(was_training)
        return predictions, loss / len(data)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Returns loss (nats a document), accuracy and macro-averaged F1 of a split."""
        from sklearn.metrics import f1_score

        predictions, loss = self.predict(model, split)
        labels = self.corpus.splits[split].labels
        return {
            f"{split}_loss": loss,
            f"{split}_accuracy": float((predictions == labels).mean()),
            f"{split}_macro_f1": float(f1_score(labels, predictions, average="macro")),
        }
