"""The encoder with a head: language modeling, and sequence classification.

Shapes: B batch, L length, T tokens of a packed batch, N predicted tokens, V vocabulary, C hidden size.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import RoFormerForMaskedLM as StockRoFormerForMaskedLM
from transformers.activations import ACT2FN
from transformers.modeling_outputs import MaskedLMOutput, SequenceClassifierOutput

from roformer.attention import document_ids
from roformer.errors import UserError
from roformer.model.configuration import RoFormerConfig
from roformer.model.encoder import RoFormerModel, RoFormerPreTrainedModel
from roformer.model.interop import from_stock, to_stock
from roformer.ops.cross_entropy import IGNORE_INDEX, mean_loss
from roformer.ops.dropout import Dropout


def has_label(labels: Tensor | None) -> Tensor:
    """Returns True for each token that is to be predicted, for ``sparse_prediction``.

    Raises:
        UserError: if there are no labels.
    """
    if labels is None:
        raise UserError("sparse_prediction computes logits where there are labels; give labels")
    return labels != IGNORE_INDEX


class RoFormerLMHead(nn.Module):
    """BERT's prediction head: dense, activation, norm, and the (tied) output layer with a bias for each token."""

    def __init__(self, config: RoFormerConfig) -> None:
        super().__init__()
        size = config.embedding_size or config.hidden_size
        self.dense = nn.Linear(config.hidden_size, size)
        self.activation = ACT2FN[config.hidden_act]
        self.norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(size, config.vocab_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.decoder(self.norm(self.activation(self.dense(hidden_states))))


class RoFormerLanguageModel(RoFormerPreTrainedModel):
    """An encoder or a decoder with a head that predicts tokens."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "head.decoder.weight": "roformer.embeddings.word_embeddings.weight"
    }

    def __init__(self, config: RoFormerConfig) -> None:
        super().__init__(config)
        self.roformer = RoFormerModel(config)
        self.head = RoFormerLMHead(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.head.decoder

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.head.decoder = value


class RoFormerForMaskedLM(RoFormerLanguageModel):
    """The encoder with a masked-language-modeling head.

    Raises:
        UserError: if ``config.is_decoder`` is set: a token would not see those after it.
    """

    def __init__(self, config: RoFormerConfig) -> None:
        if config.is_decoder:
            raise UserError(
                "RoFormerForMaskedLM is a bidirectional encoder, and this configuration has is_decoder: use "
                "RoFormerForCausalLM (AutoModelForCausalLM)"
            )
        super().__init__(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        sparse_prediction: bool = False,
        num_items_in_batch: int | Tensor | None = None,
    ) -> MaskedLMOutput:
        """Predicts tokens; the inputs are those of ``RoFormerModel.forward``.

        Args:
            labels: (B, L) the original tokens where they are to be predicted, -100 elsewhere.
            sparse_prediction: compute logits, and the output of the last layer, only where there is a label: (N, V)
                instead of (B, L, V).
            num_items_in_batch: divide the summed loss by this instead of by the labels in this call (transformers'
                name): the losses of the parts of a batch then add up to its mean.

        Returns:
            loss in nats per predicted token (if there are labels), and logits.
        """
        predicted = has_label(labels) if sparse_prediction else None
        if labels is not None and predicted is not None:
            labels = labels[predicted]
        outputs = self.roformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            cu_seqlens=cu_seqlens,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            query_mask=predicted,
        )
        logits = self.head(outputs.last_hidden_state)
        loss = None
        if labels is not None:
            loss = mean_loss(logits.flatten(0, -2), labels.flatten(), num_items_in_batch)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    @classmethod
    def from_transformers(cls, path_or_model: str | PreTrainedModel, **settings: Any) -> "RoFormerForMaskedLM":
        """Reads a Hugging Face RoFormer: a folder, a hub name, or a model in memory.

        Args:
            path_or_model: what to read.
            settings: overrides for ``RoFormerConfig``, such as ``attention_backend="eager"``.

        Raises:
            UserError: if it is not a Hugging Face RoFormer encoder with an MLM head.
        """
        return from_stock(cls, path_or_model, settings)

    def to_transformers(self) -> StockRoFormerForMaskedLM:
        """Returns the Hugging Face model with the same weights, for up to ``max_position_embeddings`` tokens.

        Raises:
            UserError: if that model has no such position encoding: it has rope only, interleaved, with rope_theta
                10000 on all channels.
        """
        return to_stock(self)


class RoFormerForSequenceClassification(RoFormerPreTrainedModel):
    """The encoder with a linear classifier on the first token or on the mean of all (``config.pooling``)."""

    def __init__(self, config: RoFormerConfig) -> None:
        super().__init__(config)
        if config.is_decoder and config.pooling == "cls":
            raise UserError("the first token of a decoder sees no other: set pooling='mean', or is_decoder=False")
        self.roformer = RoFormerModel(config)
        dropout = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = Dropout(dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels or 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        num_items_in_batch: int | Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Classifies each sequence, or each packed document; the inputs are those of ``RoFormerModel.forward``.

        Args:
            labels: (B,) or (documents,): class numbers; or targets of the only logit, a number with
                ``config.problem_type`` regression, a probability with multi_label_classification.
            num_items_in_batch: as in ``RoFormerForMaskedLM.forward``.

        Returns:
            loss per sequence (if there are labels), in nats or as squared error; and logits (B or documents,
            num_labels).
        """
        outputs = self.roformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            cu_seqlens=cu_seqlens,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        pooled = self._pool(outputs.last_hidden_state, attention_mask, cu_seqlens)
        with torch.autocast(pooled.device.type, enabled=False):  # in bfloat16 close scores would tie
            logits = self.classifier(self.dropout(pooled.to(self.classifier.weight.dtype)))
        loss = None if labels is None else self._loss(logits, labels, num_items_in_batch)
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def _loss(self, logits: Tensor, labels: Tensor, num_items_in_batch: int | Tensor | None) -> Tensor:
        if self.config.problem_type not in ("regression", "multi_label_classification"):
            return mean_loss(logits, labels, num_items_in_batch)
        values = logits.squeeze(-1).to(torch.promote_types(logits.dtype, torch.float32))
        error = F.mse_loss if self.config.problem_type == "regression" else F.binary_cross_entropy_with_logits
        total = error(values, labels.to(values), reduction="sum")
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)

    def _pool(self, hidden_states: Tensor, attention_mask: Tensor | None, cu_seqlens: Tensor | None) -> Tensor:
        """Maps (B, L, C) to (B, C), or packed (1, T, C) to (documents, C)."""
        if self.config.pooling == "cls":
            return hidden_states[:, 0] if cu_seqlens is None else hidden_states[0, cu_seqlens[:-1]]
        if cu_seqlens is not None:
            lengths = cu_seqlens.diff()
            documents = document_ids(cu_seqlens, hidden_states.shape[1])
            summed = hidden_states.new_zeros(len(lengths), hidden_states.shape[-1])
            return summed.index_add(0, documents, hidden_states[0]) / lengths[:, None]
        if attention_mask is None:
            return hidden_states.mean(dim=1)
        weights = attention_mask.to(hidden_states.dtype)[..., None]
        return (hidden_states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
