"""The encoder with a head that predicts tokens.

Shapes: B batch, L length, T tokens of a packed batch, N predicted tokens, V vocabulary, C hidden size.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_outputs import MaskedLMOutput
from transformers.utils.generic import can_return_tuple

from roformer.errors import UserError
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.encoder import RoFormerModel, RoFormerPreTrainedModel
from roformer.model.norm import build_norm
from roformer.ops.cross_entropy import IGNORE_INDEX, mean_loss


def predicted_tokens(
    model: nn.Module, labels: Tensor | None, sparse_prediction: bool | None, query_indices: Tensor | None = None
) -> Tensor | None:
    """Returns the (N,) places, in all B * L tokens, of those that are to be predicted, or None where all get logits.

    Args:
        model: trains or evaluates.
        labels: (B, L), -100 where nothing is to be predicted.
        sparse_prediction, query_indices: as in ``RoFormerForMaskedLM.forward``.

    Raises:
        UserError: if it is asked for without labels.
    """
    if query_indices is not None:
        return query_indices
    if sparse_prediction is None:  # a compiled graph's shapes cannot depend on the labels
        sparse_prediction = model.training and labels is not None and not torch.compiler.is_compiling()
    if not sparse_prediction:
        return None
    if labels is None:
        raise UserError("sparse_prediction computes logits where there are labels; give labels")
    return (labels != IGNORE_INDEX).flatten().nonzero()[:, 0]


class RoFormerLMHead(nn.Module):
    """BERT's prediction head: dense, activation, norm, and the (tied) output layer with a bias for each token.

    Without biases (``config.use_bias``), as in RoFormerV2, it is the output layer alone, after a dense layer where the
    embeddings have another width.
    """

    def __init__(self, config: RoFormerLabConfig) -> None:
        super().__init__()
        size = config.embedding_size or config.hidden_size
        # an optimizer's state knows parameters by their order: dense comes first
        transformed = config.use_bias or size != config.hidden_size
        self.dense = nn.Linear(config.hidden_size, size, bias=config.use_bias) if transformed else nn.Identity()
        if config.use_bias:
            self.activation = ACT2FN[config.hidden_act]
            self.norm = build_norm(config, size)
        self.decoder = nn.Linear(size, config.vocab_size, bias=config.use_bias)

    def forward(self, hidden_states: Tensor) -> Tensor:
        hidden_states = self.dense(hidden_states)
        if self.decoder.bias is not None:
            hidden_states = self.norm(self.activation(hidden_states))
        return self.decoder(hidden_states)


class RoFormerLanguageModel(RoFormerPreTrainedModel):
    """An encoder or a decoder with a head that predicts tokens."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "head.decoder.weight": "roformer.embeddings.word_embeddings.weight"
    }

    def __init__(self, config: RoFormerLabConfig) -> None:
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

    transformers_head = "ForMaskedLM"

    def __init__(self, config: RoFormerLabConfig) -> None:
        if config.is_decoder:
            raise UserError(
                "RoFormerForMaskedLM is a bidirectional encoder, and this configuration has is_decoder: use "
                "RoFormerForCausalLM (AutoModelForCausalLM)"
            )
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
        sparse_prediction: bool | None = None,
        query_indices: Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
        **kwargs: Any,
    ) -> MaskedLMOutput:
        """Predicts tokens; the other inputs are those of ``RoFormerModel.forward``.

        Args:
            labels: (B, L) the original tokens where they are to be predicted, -100 elsewhere.
            sparse_prediction: compute logits, and the output of the last layer, only where there is a label: (N, V)
                instead of (B, L, V). By default so in training with labels, where nothing else reads them.
            query_indices: (N,) rising places of these tokens in all B * L tokens, so that the host need not wait for
                the labels to find them.
            num_items_in_batch: divide the summed loss by this instead of by the labels in this call (transformers'
                name): the losses of the parts of a batch then add up to its mean.

        Returns:
            loss in nats per predicted token (if there are labels), and logits.
        """
        predicted = predicted_tokens(self, labels, sparse_prediction, query_indices)
        if labels is not None and predicted is not None:
            labels = labels.flatten()[predicted]
        outputs = self.roformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            cu_seqlens=cu_seqlens,
            query_indices=predicted,
            return_dict=True,
            **kwargs,
        )
        logits = self.head(outputs.last_hidden_state)
        loss = None
        if labels is not None:
            loss = mean_loss(logits.flatten(0, -2), labels.flatten(), num_items_in_batch)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
