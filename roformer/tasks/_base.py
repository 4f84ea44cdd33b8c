"""The contract of a task: its model, its batches, its metrics. The training loop knows nothing else."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tokenizers import processors
from torch import nn
from transformers import PreTrainedTokenizerFast

from roformer.data.preprocess import TokenizedCorpus
from roformer.data.sampler import batch_rows
from roformer.errors import UserError
from roformer.model import RoFormerPreTrainedModel
from roformer.registry import Registry


@dataclass(frozen=True)
class Batch:
    """One share of a batch: what the model's ``forward`` takes, and how many real tokens that is."""

    inputs: dict[str, Any]
    tokens: int


class Task(ABC):
    """What is trained, on what, and how it is judged.

    Args:
        corpus: the tokenized documents.
        tokenizer: what made them.
        seed: of the order of the rows and of all that is drawn for a batch.

    Raises:
        UserError: if there is no validation split.

    Attributes:
        best_metric: the key of ``evaluate``'s result that early stopping and the best checkpoint go by.
        greater_is_better: which way that metric is better.
        rows: sequences in one epoch.
    """

    model_class: ClassVar[type[RoFormerPreTrainedModel]]
    model_kind: ClassVar[dict[str, Any]] = {}
    """What the configuration of ``model_class`` says of which tokens see which."""
    text_frame: ClassVar[str] = "{cls} $A {sep}"
    """How the exported tokenizer frames a text, as training does."""
    padding_side: ClassVar[Literal["left", "right"]] = "right"
    """Where the exported tokenizer pads a text."""
    family: ClassVar[str]
    """The family of tasks whose results compare with each other."""
    best_metric: ClassVar[str]
    greater_is_better: ClassVar[bool]
    rows: int

    def __init__(self, corpus: TokenizedCorpus, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        if "validation" not in corpus.splits:
            raise UserError("training needs a validation split: set data.validation_fraction, such as 0.05")
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.seed = seed

    def summary(self) -> str:
        """Returns a line that says what there is to train and to judge on."""
        return "documents: " + ", ".join(f"{name} {len(split):,}" for name, split in self.corpus.splits.items())

    def model_settings(self) -> dict[str, Any]:
        """Returns what this task adds to the model's configuration beside ``model_kind``, such as the labels."""
        return {}

    def exported_tokenizer(self) -> PreTrainedTokenizerFast:
        """Returns the tokenizer that is stored beside the model: it frames and pads texts as this task does. Classes
        of transformers for one model each, such as that of ``tokenizer=words``, do what they always do."""
        if type(self.tokenizer) is not PreTrainedTokenizerFast:
            return self.tokenizer
        exported = copy.deepcopy(self.tokenizer)
        cls, sep = str(exported.cls_token), str(exported.sep_token)
        single = [piece.format(cls=cls, sep=sep) for piece in self.text_frame.split()]
        exported.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=single,
            pair=[*single, "$B:0", sep],  # all of token type 0
            special_tokens=[(cls, exported.cls_token_id), (sep, exported.sep_token_id)],
        )
        exported.padding_side = self.padding_side
        exported.init_kwargs["padding_side"] = self.padding_side  # else it is not saved
        return exported

    @abstractmethod
    def num_items(self, step: int, batch_size: int) -> int:
        """Returns the predictions in the whole of batch ``step``, by which its loss is divided."""

    @abstractmethod
    def batch(self, step: int, batch_size: int, *, share: int, shares: int) -> Batch:
        """Returns the ``share``-th of ``shares`` equal parts of batch ``step``; depends on nothing but the seed."""

    @abstractmethod
    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Returns the metrics on a whole split, in evaluation mode; the same masks for every model and seed."""

    def steps_per_epoch(self, batch_size: int) -> float:
        """Returns the batches in which every sequence comes by once."""
        return self.rows / batch_size

    def _rows(self, step: int, batch_size: int) -> list[int]:
        return batch_rows(self.seed, step, batch_size=batch_size, rows=self.rows).tolist()


TASKS: Registry[Task] = Registry("task")
