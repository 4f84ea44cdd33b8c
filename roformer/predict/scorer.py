"""Scores of whole documents: labels and values by a classification head, or vectors by any encoder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from roformer.data.tokenize import token_encoder
from roformer.errors import UserError
from roformer.model import RoFormerForSequenceClassification, RoFormerModel, RoFormerPreTrainedModel
from roformer.model.pooling import mean_of_parts
from roformer.predict._base import Document, Model, Predictor, Reading
from roformer.predict.export import Export
from roformer.tasks import TASKS
from roformer.tasks.framing import Framing
from roformer.tasks.sequences import SequenceTask, scored_by_length


class Scorer(Model):
    """Scores the sequences that are made of documents."""

    def __init__(self, export: Export, reading: Reading) -> None:
        super().__init__(export, reading)
        self.sequences_of = self.task().sequences_of
        self.framing = Framing.of(self.tokenizer, self.max_length, export.stored.get("long_documents", "head"))
        self.encode = token_encoder(self.tokenizer)

    def task(self) -> type[SequenceTask]:
        """Returns the task that makes sequences of documents."""
        return SequenceTask

    def score(self, documents: Sequence[Document]) -> NDArray[np.float32]:
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


class Classifier(Scorer, Predictor):
    """Labels or values, by a model of ``task=classification``, ``regression`` or ``matching``."""

    model_class = RoFormerForSequenceClassification

    def task(self) -> type[SequenceTask]:
        """Returns the task that the model was fine-tuned on, which is known by its problem type."""
        problem_type = self.export.stored.get("problem_type") or "single_label_classification"
        tasks = (TASKS[name] for name in TASKS)
        return next(each for each in tasks if issubclass(each, SequenceTask) and each.problem_type == problem_type)

    def statements(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        names, statement = self.export.names, self.task().statement
        return [statement(logits, names) for logits in self.score(documents)]


class Encoder(Scorer):
    """Vectors: the mean hidden states of documents.

    Raises:
        UserError: if the model is an encoder-decoder, or as in ``Model``.
    """

    model_class = RoFormerModel

    def __init__(self, export: Export, reading: Reading) -> None:
        if export.stored.get("is_encoder_decoder"):
            raise UserError(f"{export.folder} is an encoder-decoder; --encode needs an encoder or a decoder")
        super().__init__(export, reading)

    def module(self, model: RoFormerPreTrainedModel) -> nn.Module:
        return MeanPooling(model)

    def vectors(self, documents: Sequence[Document]) -> NDArray[np.float32]:
        """Returns the (documents, hidden size) vectors of some documents."""
        return self.score(documents)[:, 0]


class MeanPooling(nn.Module):
    """The mean hidden state of the last layer over all tokens of a document, [CLS] and [SEP] included, as vectors in
    the place of logits."""

    def __init__(self, model: RoFormerPreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, cu_seqlens: Tensor, document_lengths: list[int], cu_windows: Tensor | None = None
    ) -> SequenceClassifierOutput:
        outputs = self.model(input_ids=input_ids, cu_seqlens=cu_seqlens, document_lengths=document_lengths)
        hidden_states = outputs.last_hidden_state[0]
        vectors = mean_of_parts(hidden_states.float(), cu_seqlens)
        return SequenceClassifierOutput(logits=vectors if cu_windows is None else mean_of_parts(vectors, cu_windows))
