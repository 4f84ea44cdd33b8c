"""The contract of a task: its model, its batches and its metrics, which is all that training needs to know."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tokenizers import processors
from torch import nn
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import PackedShape
from roformer.data.packing import FRAME_TOKENS
from roformer.data.sampler import batch_rows
from roformer.data.token_store import TokenizedCorpus
from roformer.errors import UserError
from roformer.model import RoFormerPreTrainedModel
from roformer.registry import Registry
from roformer.tokenizer import rebuilt


@dataclass(frozen=True)
class Batch:
    """One share of a batch: keyword arguments of the model's ``forward``, and the number of non-padding tokens."""

    inputs: dict[str, Any]
    tokens: int


class Task(ABC):
    """A training objective on a tokenized corpus, with its metrics.

    Args:
        corpus: the tokenized documents.
        tokenizer: the tokenizer that made them.
        seed: seed of the order of the rows and of all draws for a batch.

    Raises:
        UserError: if there is no validation split.
    """

    title: ClassVar[str]
    """Short name in headings, as in "MLM test loss"."""
    unit: ClassVar[str]
    """What one prediction is made for; losses are means in nats per unit."""
    family: ClassVar[Literal["language_modeling", "classification", "translation", "downstream"]]
    """Which tasks a comparison summarizes in the same way; "downstream": one score per data set."""
    model_class: ClassVar[type[RoFormerPreTrainedModel]]
    architecture: ClassVar[dict[str, Any]] = {}
    """Settings that make ``model_class`` an encoder, a decoder or both; empty if the task works with either."""
    prompt_template: ClassVar[str] = "{cls} $A {sep}"
    """Special tokens that the exported tokenizer adds to a text ($A), as in training."""
    padding_side: ClassVar[Literal["left", "right"]] = "right"
    """Padding side of the exported tokenizer."""
    max_tokens: int | None = None
    """Maximum number of tokens in a training sequence, special tokens included; None if there is none."""
    best_metric: ClassVar[str]
    """Key of ``evaluate``'s result that early stopping and the best checkpoint use."""
    greater_is_better: ClassVar[bool]
    """Whether a greater ``best_metric`` is better."""
    rows: int
    """Training sequences in one epoch."""

    def __init__(self, corpus: TokenizedCorpus, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        if "validation" not in corpus.splits:
            raise UserError("training needs a validation split: set data.validation_fraction, such as 0.05")
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.seed = seed

    @classmethod
    def check(cls, settings: dict[str, Any]) -> None:
        """Raises ``UserError`` for settings that fit no data, such as sequences too short for any text."""
        for key in ("sequence_length", "max_length"):
            if settings.get(key, FRAME_TOKENS + 1) <= FRAME_TOKENS:
                raise UserError(f"task.{key} must be at least {FRAME_TOKENS + 1}, got {settings[key]}")

    def summary(self) -> str:
        """Returns the size of each split, and what is strange about the documents."""
        sizes = "documents: " + ", ".join(f"{name} {len(split):,}" for name, split in self.corpus.splits.items())
        return "\n".join([sizes, *(f"warning: {each}" for each in self.corpus.warnings)])

    def model_settings(self) -> dict[str, Any]:
        """Returns settings of the model's configuration that depend on the data, such as the labels."""
        return {}

    def exported_tokenizer(self) -> PreTrainedTokenizerFast:
        """Returns the tokenizer to store with the model: it adds special tokens, pads and truncates as this task does.

        It makes no token types, since every token of training has type 0. Chinese words (``tokenizer=words``) are
        framed as [CLS] text [SEP] by their class when transformers loads it, for every task.
        """
        ends = {name: self.model_settings().get(f"{name}_id") for name in ("bos_token", "eos_token")}
        exported = rebuilt(
            self.tokenizer,
            **{name: self.tokenizer.convert_ids_to_tokens(token) for name, token in ends.items() if token is not None},
            model_input_names=["input_ids", "attention_mask"],
            model_max_length=self.max_tokens,
            padding_side=self.padding_side,
        )
        cls, sep = str(exported.cls_token), str(exported.sep_token)
        single = [piece.format(cls=cls, sep=sep) for piece in self.prompt_template.split()]
        exported.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=single,
            pair=[*single, "$B:0", sep],  # all tokens have type 0
            special_tokens=[(cls, exported.cls_token_id), (sep, exported.sep_token_id)],
        )
        return exported

    @abstractmethod
    def num_items(self, step: int, batch_size: int) -> int:
        """Returns the number of predictions in the whole batch ``step``, by which its summed loss is divided."""

    @abstractmethod
    def batch(self, step: int, batch_size: int, *, share: int, shares: int) -> Batch:
        """Returns part ``share`` of ``shares`` equal parts of batch ``step``; depends on seed and step only."""

    def packed_shape(self, sequences: int) -> PackedShape | None:
        """Returns sizes that training batches of so many sequences nearly have, whatever the step; None where they
        differ much."""
        return None

    @abstractmethod
    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Returns the metrics of a split, in evaluation mode; masks are the same for every model and seed."""

    def steps_per_epoch(self, batch_size: int) -> float:
        """Returns the number of batches in which every sequence occurs once."""
        return self.rows / batch_size

    def batch_row_numbers(self, step: int, batch_size: int) -> list[int]:
        """Returns the numbers of the training sequences in batch ``step``."""
        return batch_rows(self.seed, step, batch_size=batch_size, rows=self.rows).tolist()


TASKS: Registry[Task] = Registry("task")
