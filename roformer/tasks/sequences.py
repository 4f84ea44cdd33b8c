"""Fine-tuning tasks on whole documents: truncation, special tokens, and scores of the classification head."""

from abc import abstractmethod
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import IntArray, pack, split_texts
from roformer.data.packing import FRAME_TOKENS
from roformer.data.sampler import batches_by_length
from roformer.data.token_store import TokenizedCorpus
from roformer.errors import UserError
from roformer.model import RoFormerForSequenceClassification
from roformer.runtime.inference import evaluating
from roformer.tasks._base import Batch, Task

Example: TypeAlias = tuple[IntArray, int | float]
"""Tokens of a sequence, special tokens included, and its label."""


class SequenceTask(Task):
    """Scores the beginning of each document with a classification head.

    Args:
        max_length: maximum number of tokens in a sequence, special tokens included; longer documents are truncated,
            of several texts the longest first.
        pooling: input of the head: ``mean`` over all tokens, as in the authors' script, or ``cls``.
        classifier_dropout: dropout before the head.

    Raises:
        UserError: if the data has no labels or does not fit the task, or ``max_length`` leaves no room for text.
    """

    model_class = RoFormerForSequenceClassification

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
        if not corpus.label_names:
            raise UserError(
                "this task needs labeled data: data=docs_topics, or data=labeled with data.path, "
                "data.text_column and data.label_column"
            )
        least = FRAME_TOKENS + corpus.texts  # one token per text, and a [SEP] between two texts
        if max_length < least:
            raise UserError(f"task.max_length must be at least {least}, got {max_length}")
        self.max_tokens = self.max_length = max_length
        self.pooling, self.classifier_dropout = pooling, classifier_dropout
        self.rows = len(corpus.splits["train"])
        self.check_data()

    @abstractmethod
    def check_data(self) -> None:
        """Raises ``UserError`` if labels or texts of the corpus do not fit the task."""

    def model_settings(self) -> dict[str, Any]:
        return {"pooling": self.pooling, "classifier_dropout": self.classifier_dropout}

    @property
    def logits(self) -> int:
        """Number of logits per sequence."""
        return len(self.model_settings()["id2label"])

    @abstractmethod
    def examples(self, split: str, index: int) -> list[Example]:
        """Returns the sequences made from document ``index`` of a split, the same number for every document."""

    def labels(self, split: str) -> NDArray[np.int64]:
        """Returns the (documents,) labels of a split as indices into the corpus's ``label_names``."""
        labels = self.corpus.splits[split].labels
        assert labels is not None  # label_names is not empty
        return labels

    def add_special_tokens(self, *texts: IntArray) -> IntArray:
        """Returns the truncated texts as one sequence: [CLS] text [SEP], or [CLS] text [SEP] text [SEP]."""
        kept = truncate(texts, self.max_length - 1 - len(texts))
        separator = [self.tokenizer.sep_token_id]
        parts = [part for text in kept for part in (text, separator)]
        return np.concatenate([[self.tokenizer.cls_token_id], *parts]).astype(np.int64)

    def texts(self, split: str, index: int) -> list[IntArray]:
        """Returns the tokens of each text of a document."""
        tokens = self.corpus.splits[split].document(index)
        return split_texts(tokens, self.tokenizer) if self.corpus.texts > 1 else [tokens]

    def batch(self, step: int, batch_size: int, *, share: int, shares: int) -> Batch:
        indices = self.batch_row_numbers(step, batch_size)[share::shares]
        return self._collate([example for index in indices for example in self.examples("train", index)])

    def _collate(self, examples: list[Example]) -> Batch:
        ordered = sorted(examples, key=lambda example: -len(example[0]))  # attention batches sequences of equal length
        inputs = pack([tokens for tokens, _ in ordered])
        labels = torch.tensor([label for _, label in ordered])
        return Batch({**inputs, "labels": labels}, inputs["input_ids"].shape[1])

    def score(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> tuple[NDArray[np.float32], float]:
        """Returns (documents, sequences per document, logits) logits of a split, and the mean loss per sequence."""
        documents = range(len(self.corpus.splits[split]))
        lengths = np.array([[len(tokens) for tokens, _ in self.examples(split, index)] for index in documents])
        scores, loss = np.empty((lengths.size, self.logits), dtype=np.float32), 0.0
        with evaluating(model) as on_device:
            for batch in batches_by_length(lengths.ravel(), batch_tokens):
                places = [divmod(number, lengths.shape[1]) for number in batch]
                inputs = self._collate([self.examples(split, index)[number] for index, number in places]).inputs
                outputs = model(**on_device(inputs), num_items_in_batch=lengths.size)
                loss += outputs.loss.item()
                scores[batch] = outputs.logits.float().cpu().numpy()  # both are in order of decreasing length
        return scores.reshape(*lengths.shape, -1), loss


def truncate(texts: tuple[IntArray, ...], length: int) -> list[IntArray]:
    """Truncates texts to ``length`` tokens in total, the longest first, as BERT does (Devlin et al. 2019, A.2)."""
    share, left = length, length
    for number, shortest in enumerate(sorted(len(text) for text in texts)):
        share = left // (len(texts) - number)
        if shortest > share:
            break
        left -= shortest
    else:
        return list(texts)
    spare = left - share * sum(len(text) > share for text in texts)
    kept = []
    for text in texts:
        more = len(text) > share and spare > 0
        kept.append(text[: share + more])
        spare -= more
    return kept
