"""Fine-tuning tasks on whole documents: their sequences, batches, and scores of the classification head."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import IntArray, split_texts
from roformer.data.packing import FRAME_TOKENS
from roformer.data.sampler import batches_by_length
from roformer.data.token_store import TokenizedCorpus
from roformer.errors import UserError
from roformer.model import RoFormerForSequenceClassification
from roformer.model.configuration import LongDocuments
from roformer.runtime.inference import evaluating
from roformer.tasks._base import Batch, Task
from roformer.tasks.framing import Framing

Text = TypeVar("Text")
Example: TypeAlias = tuple[IntArray, int | float]
"""What ``Framing.frame`` returned, and its label."""


class SequenceTask(Task):
    """Scores the beginning of each document with a classification head.

    Args:
        max_length: maximum number of tokens in a sequence, special tokens included; longer documents are truncated,
            of several texts the longest first.
        long_documents: what is read of longer documents, as in ``Framing``; the logits of windows are averaged.
        pooling: input of the head: ``mean`` over all tokens, as in the authors' script, or ``cls``.
        classifier_dropout: dropout before the head.

    Raises:
        UserError: if the data has no labels or does not fit the task, ``max_length`` leaves no room for text, or
            documents of several texts are to be cut into windows.
    """

    model_class = RoFormerForSequenceClassification
    problem_type: ClassVar[str]
    """By which transformers, and ``roformer.predict``, know from ``config.json`` what the logits are."""

    def __init__(
        self,
        corpus: TokenizedCorpus,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        *,
        max_length: int,
        long_documents: LongDocuments = "head",
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
        if long_documents == "windows" and corpus.texts > 1:
            raise UserError(
                f"task.long_documents=windows needs documents of one text, the data has {corpus.texts}; choose head "
                "or head_tail"
            )
        self.max_tokens = self.max_length = max_length
        self.framing = Framing.of(tokenizer, max_length, long_documents)
        self.pooling, self.classifier_dropout = pooling, classifier_dropout
        self.rows = len(corpus.splits["train"])
        self.check_data()

    @abstractmethod
    def check_data(self) -> None:
        """Raises ``UserError`` if labels or texts of the corpus do not fit the task."""

    def model_settings(self) -> dict[str, Any]:
        return {
            "pooling": self.pooling,
            "classifier_dropout": self.classifier_dropout,
            "problem_type": self.problem_type,
            "long_documents": self.framing.long_documents,
        }

    def exported_tokenizer(self) -> PreTrainedTokenizerFast:
        exported = super().exported_tokenizer()
        exported.model_max_length = self.max_length
        return exported

    @staticmethod
    def sequences_of(texts: Sequence[Text]) -> list[tuple[Text, ...]]:
        """Returns the texts of each sequence that is scored for a document."""
        return [tuple(texts)]

    @staticmethod
    @abstractmethod
    def statement(logits: NDArray[np.float32], names: Sequence[str]) -> dict[str, Any]:
        """Returns what a prediction says, as plain JSON.

        Args:
            logits: (sequences, logits) of one document.
            names: of the logits, as in ``id2label``.
        """

    @abstractmethod
    def targets(self, split: str, index: int) -> Sequence[int | float]:
        """Returns the label of each sequence of a document."""

    def examples(self, split: str, index: int) -> list[Example]:
        """Returns the sequences made from document ``index`` of a split, the same number for every document."""
        sequences = self.sequences_of(self.texts(split, index))
        return [
            (self.add_special_tokens(*texts), label)
            for texts, label in zip(sequences, self.targets(split, index), strict=True)
        ]

    def labels(self, split: str) -> NDArray[np.int64]:
        """Returns the (documents,) labels of a split as indices into the corpus's ``label_names``."""
        labels = self.corpus.splits[split].labels
        assert labels is not None  # label_names is not empty
        return labels

    def add_special_tokens(self, *texts: IntArray) -> IntArray:
        """Returns the texts, of which ``max_length`` tokens are kept, as ``Framing.frame`` does."""
        return self.framing.frame(*texts)

    def texts(self, split: str, index: int) -> list[IntArray]:
        """Returns the tokens of each text of a document."""
        tokens = self.corpus.splits[split].document(index)
        return split_texts(tokens, self.tokenizer) if self.corpus.texts > 1 else [tokens]

    def batch(self, step: int, batch_size: int, *, share: int, shares: int) -> Batch:
        indices = self.batch_row_numbers(step, batch_size)[share::shares]
        return self._collate([example for index in indices for example in self.examples("train", index)])

    def _collate(self, examples: list[Example]) -> Batch:
        ordered = sorted(examples, key=lambda example: -len(example[0]))  # attention batches sequences of equal length
        inputs = self.framing.pack([tokens for tokens, _ in ordered])
        labels = torch.tensor([label for _, label in ordered])
        return Batch({**inputs, "labels": labels}, inputs["input_ids"].shape[1])

    def score(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> tuple[NDArray[np.float32], float]:
        """Returns (documents, sequences per document, logits) logits of a split, and the mean loss per sequence."""
        documents = range(len(self.corpus.splits[split]))
        lengths = np.array([[len(tokens) for tokens, _ in self.examples(split, index)] for index in documents])

        def batch(numbers: list[int]) -> dict[str, Any]:
            places = [divmod(number, lengths.shape[1]) for number in numbers]
            inputs = self._collate([self.examples(split, index)[number] for index, number in places]).inputs
            return {**inputs, "num_items_in_batch": lengths.size}

        scores, loss = scored_by_length(model, lengths.ravel(), batch, batch_tokens)
        return scores.reshape(*lengths.shape, -1), loss


def scored_by_length(
    model: nn.Module,
    lengths: NDArray[np.int64],
    batch: Callable[[list[int]], Mapping[str, Any]],
    batch_tokens: int,
) -> tuple[NDArray[np.float32], float]:
    """Scores sequences in batches of similar length.

    Args:
        model: with a classification head.
        lengths: (sequences,) numbers of tokens.
        batch: returns the inputs of the model for sequences by their numbers, which come by falling length.
        batch_tokens: maximum number of tokens in a forward pass; a single longer sequence has one of its own.

    Returns:
        (sequences, logits) logits in the order of ``lengths``, and the sum of the losses where there are labels.
    """
    numbers: list[int] = []
    scores, losses = [], []  # moved to the CPU at the end, so no batch waits for the device
    with evaluating(model) as on_device:
        for batch_numbers in batches_by_length(lengths, batch_tokens):
            outputs = model(**on_device(batch(batch_numbers)))
            losses += [] if outputs.loss is None else [outputs.loss]
            scores.append(outputs.logits.float())
            numbers += batch_numbers
    loss = sum(torch.stack(losses).tolist()) if losses else 0.0
    return torch.cat(scores).cpu().numpy()[np.argsort(numbers)], loss
