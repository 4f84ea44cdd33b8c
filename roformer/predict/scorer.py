"""An exported model, the sequences that it reads of new texts, and its scores of them."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.tokenization_utils_base import VERY_LARGE_INTEGER  # of a tokenizer that knows no length

from roformer.config import sequence_length
from roformer.data.sources import text_columns
from roformer.data.tokenize import token_encoder
from roformer.errors import UserError
from roformer.model import RoFormerForSequenceClassification, RoFormerModel
from roformer.model.pooling import mean_of_parts
from roformer.runs.folder import find_export, run_of_export
from roformer.runtime.precision import autocast, best_device, choose_precision
from roformer.tasks import TASKS
from roformer.tasks.framing import Framing
from roformer.tasks.sequences import SequenceTask, scored_by_length
from roformer.tokenizer.pretrained import load_tokenizer
from roformer.training.export import read_model
from roformer.training.warm_start import read_settings


class Export:
    """What an export, and its run where it lies in one, say about how the model is to be used.

    Args:
        given: the output folder of a finished run, or an export.

    Raises:
        UserError: if there is none, or it is no RoFormer of ours.
    """

    def __init__(self, given: str) -> None:
        self.folder: Path = find_export(given)
        self.stored = read_settings(self.folder)
        if self.stored["model_type"] == "roformer":
            raise UserError(
                f"{self.folder} is a RoFormer of transformers; train from it first (init_from={self.folder})"
            )
        run = run_of_export(self.folder)
        self.run: dict[str, Any] | None = run.config if run else None

    @cached_property
    def task(self) -> type[SequenceTask]:
        """The task that the model was fine-tuned on, which is known by its problem type.

        Raises:
            UserError: if the model has no classification head.
        """
        architecture = (self.stored.get("architectures") or ["a model"])[0]
        if architecture != RoFormerForSequenceClassification.__name__:
            raise UserError(
                f"{self.folder} is {architecture}, which predicts no labels; fine-tune it first "
                f"(task=classification init_from={self.folder}), or give --encode"
            )
        problem_type = self.stored.get("problem_type") or "single_label_classification"
        tasks = (TASKS[name] for name in TASKS)
        return next(each for each in tasks if issubclass(each, SequenceTask) and each.problem_type == problem_type)

    @property
    def names(self) -> list[str]:
        """Of the logits."""
        return [name for _, name in sorted(self.stored["id2label"].items(), key=lambda item: int(item[0]))]

    @property
    def columns(self) -> list[str]:
        """The columns that the run read its texts from; ``text`` where no run is known."""
        return text_columns(self.run["data"]) if self.run else ["text"]

    def max_length(self, tokenizer: PreTrainedTokenizerFast) -> int:
        """Returns the tokens of a sequence in training, as far as that is known: those of the run, else of the
        tokenizer, else the positions of the model."""
        if self.run:
            return sequence_length(self.run["task"])
        known = tokenizer.model_max_length
        return known if known < VERY_LARGE_INTEGER else int(self.stored["max_position_embeddings"])

    def check_texts(self, columns: Sequence[str]) -> None:
        """Raises ``UserError`` if documents of so many texts are not those that the model was trained on."""
        if self.run and len(columns) != len(self.columns):
            raise UserError(
                f"{self.folder} was trained on documents of the texts {', '.join(self.columns)}, given: "
                f"{', '.join(columns)}; give a table, and as many of its columns as --text-column"
            )
        if (problem := self.stored.get("problem_type")) == "multi_label_classification" and len(columns) != 3:
            raise UserError(
                f"{self.folder} is of task=matching ({problem}), which needs three texts per document; give a table, "
                "and --text-column=A,B,C"
            )


class MeanPooling(nn.Module):
    """The mean hidden state of the last layer over all tokens of a document, [CLS] and [SEP] included, as vectors in
    the place of logits."""

    def __init__(self, model: RoFormerModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, cu_seqlens: Tensor, cu_windows: Tensor | None = None
    ) -> SequenceClassifierOutput:
        hidden_states = self.model(input_ids=input_ids, cu_seqlens=cu_seqlens).last_hidden_state[0]
        vectors = mean_of_parts(hidden_states.float(), cu_seqlens)
        return SequenceClassifierOutput(logits=vectors if cu_windows is None else mean_of_parts(vectors, cu_windows))


class Scorer:
    """Scores texts with an exported model.

    Args:
        export: of the model.
        vectors: give the mean hidden states of each document in place of the logits of its sequences.
        max_length: tokens of a sequence; None for those of the run, the tokenizer or the model.
        precision: ``bf16``, ``fp32``, ``auto``, or None for that of the run.
        batch_tokens: tokens of a forward pass.

    Raises:
        UserError: if the export cannot be read, or does not fit.
    """

    def __init__(
        self, export: Export, *, vectors: bool, max_length: int | None, precision: str | None, batch_tokens: int
    ) -> None:
        self.model: nn.Module
        device = best_device()
        if vectors:
            if export.stored.get("is_encoder_decoder"):
                raise UserError(f"{export.folder} is an encoder-decoder; --encode needs an encoder or a decoder")
            self.sequences_of = SequenceTask.sequences_of
            self.model = MeanPooling(read_model(RoFormerModel, export.folder)).to(device)
        else:
            self.sequences_of = export.task.sequences_of
            self.model = read_model(RoFormerForSequenceClassification, export.folder).to(device)
        tokenizer = load_tokenizer(str(export.folder))
        length = export.max_length(tokenizer) if max_length is None else max_length
        self.framing = Framing.of(tokenizer, length, export.stored.get("long_documents", "head"))
        self.encode = token_encoder(tokenizer)
        self.batch_tokens = batch_tokens
        asked = precision or (export.run["trainer"]["precision"] if export.run else "auto")
        chosen = choose_precision(asked, hidden_size=export.stored["hidden_size"], device=device).value
        self.autocast = autocast(chosen, device)

    def score(self, documents: Sequence[tuple[str, ...]]) -> NDArray[np.float32]:
        """Returns the (documents, sequences, logits) logits of some documents; or vectors, with one sequence for each
        document."""
        ids = iter(self.encode([text for texts in documents for text in texts]))
        tokens = [[np.array(next(ids), dtype=np.int64) for _ in texts] for texts in documents]
        framed = [self.framing.frame(*texts) for each in tokens for texts in self.sequences_of(each)]
        with torch.inference_mode(), self.autocast:
            scores, _ = scored_by_length(
                self.model,
                np.array([len(sequence) for sequence in framed]),
                lambda numbers: self.framing.pack([framed[number] for number in numbers]),
                self.batch_tokens,
            )
        return scores.reshape(len(documents), -1, scores.shape[-1])
