"""The decoder alone: a causal language model, with transformers' ``generate()``.

Shapes: B batch, L length, T tokens of a packed batch, N predicted tokens, V vocabulary.
"""

from typing import Any

from torch import Tensor
from torch.nn import functional as F
from transformers import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions, CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from roformer.errors import UserError
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.heads import RoFormerLanguageModel, predicted_tokens
from roformer.ops.cross_entropy import IGNORE_INDEX, mean_loss


class RoFormerForCausalLM(RoFormerLanguageModel, GenerationMixin):
    """Predicts each token from those before it.

    Raises:
        UserError: if ``config.is_decoder`` is not set: tokens would see what they are to predict.
    """

    transformers_head = "ForCausalLM"

    def __init__(self, config: RoFormerLabConfig) -> None:
        if not config.is_decoder:
            raise UserError("RoFormerForCausalLM is a causal decoder: set is_decoder=True in its configuration")
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
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        sparse_prediction: bool | None = None,
        query_indices: Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Predicts the next tokens; the other inputs are those of ``RoFormerModel.forward``.

        Args:
            labels: (B, L) or (1, T), usually ``input_ids`` themselves: the model shifts them. -100 at tokens that are
                not to be predicted, as the first of each packed document must be.
            use_cache: return a cache of this text; by default ``config.use_cache``, and with labels or packed
                documents none.
            logits_to_keep: compute the logits of so many last tokens only, 0 for all, or of these places.
            sparse_prediction: compute logits only of tokens that have a label, (N, V), from the tokens before them. By
                default so in training with labels.
            query_indices: (N,) places of the tokens before them; as in ``RoFormerForMaskedLM.forward``.
            num_items_in_batch: as in ``RoFormerForMaskedLM.forward``.

        Returns:
            loss in nats per predicted token (if there are labels), logits, and the cache if there is one.
        """
        next_tokens = None if labels is None else F.pad(labels[:, 1:], (0, 1), value=IGNORE_INDEX)
        predicted = predicted_tokens(self, next_tokens, sparse_prediction, query_indices)
        if use_cache is None:
            packed = cu_seqlens is not None or kwargs.get("cu_seq_lens_q") is not None
            use_cache = self.config.use_cache and labels is None and not packed
        outputs = self.roformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            cu_seqlens=cu_seqlens,
            use_cache=use_cache,
            return_dict=True,
            **kwargs,
        )
        return self._predict(outputs, next_tokens, predicted, logits_to_keep, num_items_in_batch)

    def _predict(
        self,
        outputs: BaseModelOutputWithPoolingAndCrossAttentions,
        next_tokens: Tensor | None,
        predicted: Tensor | None,
        logits_to_keep: int | Tensor,
        num_items_in_batch: int | Tensor | None,
    ) -> CausalLMOutputWithPast:
        """Computes logits of the ``predicted`` tokens, of the last ones or of all, and the loss against (B, L)."""
        hidden_states, loss = outputs.last_hidden_state, None
        if predicted is not None and next_tokens is not None:
            hidden_states, next_tokens = hidden_states.flatten(0, 1)[predicted], next_tokens.flatten()[predicted]
        elif isinstance(logits_to_keep, Tensor):
            hidden_states = hidden_states[:, logits_to_keep]
        elif logits_to_keep and next_tokens is None:
            hidden_states = hidden_states[:, -logits_to_keep:]
        logits = self.head(hidden_states)
        if next_tokens is not None:
            loss = mean_loss(logits.flatten(0, -2), next_tokens.flatten(), num_items_in_batch)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
