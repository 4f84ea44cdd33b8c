"""The encoder with a classifier: of sequences, of tokens, and of the choices that a question offers.

Shapes: B batch, L length, T tokens of a packed batch, C hidden size.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN
from transformers.modeling_outputs import MultipleChoiceModelOutput, SequenceClassifierOutput, TokenClassifierOutput
from transformers.utils.generic import can_return_tuple

from roformer.errors import UserError
from roformer.model.arrangement import bounds_of_documents
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.encoder import RoFormerModel, RoFormerPreTrainedModel
from roformer.model.pooling import mean_of_parts, pool
from roformer.ops.cross_entropy import mean_loss
from roformer.ops.dropout import Dropout


class RoFormerClassifier(RoFormerPreTrainedModel):
    """The encoder, dropout and a linear layer; with ``config.classifier_activation`` a dense layer before these.

    Args:
        config: of the model.
        num_labels: number of logits; ``config.num_labels`` by default.
    """

    def __init__(self, config: RoFormerLabConfig, num_labels: int | None = None) -> None:
        super().__init__(config)
        self.roformer = RoFormerModel(config)
        dropout = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = Dropout(dropout)
        if config.classifier_activation is not None:
            self.dense = nn.Linear(config.hidden_size, config.hidden_size)
            self.activation = ACT2FN[config.classifier_activation]
        self.classifier = nn.Linear(config.hidden_size, num_labels or config.num_labels or 2)
        self.post_init()

    def classify(self, hidden_states: Tensor) -> Tensor:
        """Maps (..., C) to (..., labels), in float32 also under autocast: in bfloat16 close scores would tie."""
        with torch.autocast(hidden_states.device.type, enabled=False):
            hidden_states = self.dropout(hidden_states.to(self.classifier.weight.dtype))
            if self.config.classifier_activation is not None:
                hidden_states = self.dropout(self.activation(self.dense(hidden_states)))
            logits: Tensor = self.classifier(hidden_states)
            return logits


class RoFormerForSequenceClassification(RoFormerClassifier):
    """Classifies sequences by their first token, their last one or the mean of all (``config.pooling``).

    Raises:
        UserError: if it would read the first token of a decoder.
    """

    transformers_head = "ForSequenceClassification"

    def __init__(self, config: RoFormerLabConfig) -> None:
        if config.is_decoder and config.pooling == "cls":
            raise UserError("the first token of a decoder sees no other: set pooling='mean', or is_decoder=False")
        super().__init__(config)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
        cu_windows: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Classifies each sequence, or each packed document; the other inputs are those of ``RoFormerModel.forward``.

        Args:
            labels: (B,) or (documents,) class numbers; (B,) or (B, num_labels) numbers with ``config.problem_type``
                regression, probabilities with multi_label_classification. Without a problem type, one logit means
                regression, and floats mean several labels, as in transformers.
            num_items_in_batch: as in ``RoFormerForMaskedLM.forward``.
            cu_windows: (documents + 1,) cumulative numbers of the sequences that are windows of one document, whose
                logits are averaged.

        Returns:
            loss per label (if there are labels), in nats or as squared error; and logits (B or documents, num_labels).
        """
        outputs = self.roformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            cu_seqlens=cu_seqlens,
            return_dict=True,
            **kwargs,
        )
        documents = kwargs.get("cu_seq_lens_q") if cu_seqlens is None else cu_seqlens
        if documents is None and attention_mask is None:
            documents = bounds_of_documents(position_ids)
        logits = self.classify(pool(outputs.last_hidden_state, self.config.pooling, attention_mask, documents))
        if cu_windows is not None:
            logits = mean_of_parts(logits, cu_windows)
        loss = None if labels is None else self._loss(logits, labels, num_items_in_batch)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def _loss(self, logits: Tensor, labels: Tensor, num_items_in_batch: int | Tensor | None) -> Tensor:
        problem = self.config.problem_type
        if problem is None:
            several = "multi_label_classification" if labels.is_floating_point() else "single_label_classification"
            problem = "regression" if logits.shape[-1] == 1 else several
        if problem == "single_label_classification":
            return mean_loss(logits, labels.flatten(), num_items_in_batch)
        values = logits.to(torch.promote_types(logits.dtype, torch.float32))
        error = F.mse_loss if problem == "regression" else F.binary_cross_entropy_with_logits
        total = error(values, labels.to(values).view_as(values), reduction="sum")
        return total / (labels.numel() if num_items_in_batch is None else num_items_in_batch)


class RoFormerForTokenClassification(RoFormerClassifier):
    """Classifies every token."""

    transformers_head = "ForTokenClassification"

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
        **kwargs: Any,
    ) -> TokenClassifierOutput:
        """Classifies the tokens of padded or packed sequences; the other inputs are those of
        ``RoFormerModel.forward``.

        Args:
            labels: (B, L) or (1, T) class numbers, -100 at tokens that have none.
            num_items_in_batch: as in ``RoFormerForMaskedLM.forward``.

        Returns:
            loss in nats per label (if there are labels), and logits (B, L, num_labels).
        """
        outputs = self.roformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            cu_seqlens=cu_seqlens,
            return_dict=True,
            **kwargs,
        )
        logits, loss = self.classify(outputs.last_hidden_state), None
        if labels is not None:
            loss = mean_loss(logits.flatten(0, -2), labels.flatten(), num_items_in_batch)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class RoFormerForMultipleChoice(RoFormerClassifier):
    """Scores the choices that a question offers, each with the question as one sequence (``config.pooling``)."""

    transformers_head = "ForMultipleChoice"

    def __init__(self, config: RoFormerLabConfig) -> None:
        super().__init__(config, num_labels=1)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
        **kwargs: Any,
    ) -> MultipleChoiceModelOutput:
        """Scores padded sequences (B, choices, L); the other inputs are those of ``RoFormerModel.forward``, with a
        dimension of choices.

        Args:
            labels: (B,) numbers of the right choices.
            num_items_in_batch: as in ``RoFormerForMaskedLM.forward``.

        Returns:
            loss in nats per question (if there are labels), and logits (B, choices).
        """
        given = input_ids if inputs_embeds is None else inputs_embeds
        if given is None or given.dim() < 3:
            raise UserError("give input_ids of shape (batch, choices, length), or inputs_embeds")
        flat = {
            name: None if value is None else value.flatten(0, 1)
            for name, value in {
                "input_ids": input_ids,
                "attention_mask": attention_mask,
                "token_type_ids": token_type_ids,
                "position_ids": position_ids,
                "inputs_embeds": inputs_embeds,
            }.items()
        }
        outputs = self.roformer(**flat, return_dict=True, **kwargs)
        pooled = pool(outputs.last_hidden_state, self.config.pooling, flat["attention_mask"], None)
        logits = self.classify(pooled).view(given.shape[:2])
        loss = None if labels is None else mean_loss(logits, labels, num_items_in_batch)
        return MultipleChoiceModelOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
