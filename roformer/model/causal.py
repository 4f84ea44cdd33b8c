"""The decoder alone: a causal language model, with transformers' ``generate()``.

Shapes: B batch, L length, T tokens of a packed batch, N predicted tokens, V vocabulary.
"""

import torch
from torch import Tensor
from transformers import GenerationMixin
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from roformer.errors import UserError
from roformer.model.configuration import RoFormerConfig
from roformer.model.heads import RoFormerLanguageModel
from roformer.ops.cross_entropy import IGNORE_INDEX, mean_loss


class RoFormerForCausalLM(RoFormerLanguageModel, GenerationMixin):
    """Predicts each token from those before it.

    Raises:
        UserError: if ``config.is_decoder`` is not set: tokens would see what they are to predict.
    """

    def __init__(self, config: RoFormerConfig) -> None:
        if not config.is_decoder:
            raise UserError("RoFormerForCausalLM reads from left to right: set is_decoder=True in its configuration")
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
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int = 0,
        sparse_prediction: bool = False,
        num_items_in_batch: int | Tensor | None = None,
    ) -> CausalLMOutputWithPast:
        """Predicts the next tokens; the inputs are those of ``RoFormerModel.forward``.

        Args:
            labels: (B, L) or (1, T), as a rule ``input_ids`` themselves: the model shifts them. -100 at tokens that
                are not to be predicted, as the first of each packed document must be.
            use_cache: return a cache of this text if none was given.
            logits_to_keep: compute the logits of so many last tokens only; 0 for all.
            sparse_prediction: compute logits only of tokens that have a label, (N, V), from the tokens before them.
            num_items_in_batch: as in ``RoFormerForMaskedLM.forward``.

        Returns:
            loss in nats a predicted token (if there are labels), logits, and the cache if there is one.

        Raises:
            UserError: if the inputs contradict each other.
        """
        if sparse_prediction and labels is None:
            raise UserError("sparse_prediction computes logits where there are labels; give labels")
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        outputs = self.roformer(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, cu_seqlens,
            output_attentions, output_hidden_states, past_key_values=past_key_values,
        )  # fmt: skip
        hidden_states, following = outputs.last_hidden_state, None
        if labels is not None:
            # of each token, the next one
            following = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORE_INDEX)
        if sparse_prediction:
            assert following is not None
            predicted = following != IGNORE_INDEX
            hidden_states, following = hidden_states[predicted], following[predicted]
        elif logits_to_keep and labels is None:
            hidden_states = hidden_states[:, -logits_to_keep:]
        logits = self.head(hidden_states)
        loss = None
        if following is not None:
            loss = mean_loss(logits.flatten(0, -2), following.flatten(), num_items_in_batch)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
