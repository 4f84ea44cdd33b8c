"""The encoder with a head that finds the answer to a question in a text.

Shapes: B batch, L length, C hidden size.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import QuestionAnsweringModelOutput
from transformers.utils.generic import can_return_tuple

from roformer.model.configuration import RoFormerLabConfig
from roformer.model.encoder import RoFormerModel, RoFormerPreTrainedModel
from roformer.ops.cross_entropy import IGNORE_INDEX, mean_loss


class RoFormerForQuestionAnswering(RoFormerPreTrainedModel):
    """Scores every token as the first and as the last one of the answer."""

    transformers_head = "ForQuestionAnswering"

    def __init__(self, config: RoFormerLabConfig) -> None:
        super().__init__(config)
        self.roformer = RoFormerModel(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput:
        """Scores padded sequences; the other inputs are those of ``RoFormerModel.forward``.

        Args:
            start_positions, end_positions: (B,) places of the answer's first and last token; a place beyond the
                sequence counts for nothing.
            num_items_in_batch: as in ``RoFormerForMaskedLM.forward``; the items are sequences.

        Returns:
            loss in nats, the mean of both ends (if they are given), and start_logits and end_logits, (B, L).
        """
        outputs = self.roformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        with torch.autocast(
            outputs.last_hidden_state.device.type, enabled=False
        ):  # in bfloat16 close scores would tie
            hidden_states = outputs.last_hidden_state.to(self.qa_outputs.weight.dtype)
            start_logits, end_logits = self.qa_outputs(hidden_states).unbind(dim=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            ends = ((start_logits, start_positions), (end_logits, end_positions))
            is_padding = attention_mask == 0 if attention_mask is not None and attention_mask.dim() == 2 else None
            loss = sum(_loss(logits, is_padding, places, num_items_in_batch) for logits, places in ends) / 2
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


def _loss(
    logits: Tensor, is_padding: Tensor | None, places: Tensor, num_items_in_batch: int | Tensor | None
) -> Tensor:
    if is_padding is not None:  # else the loss of a sequence would depend on the longest one of its batch
        logits = logits.masked_fill(is_padding, -torch.inf)
    places = places.flatten()
    inside = (places >= 0) & (places < logits.shape[1])
    return mean_loss(logits, places.where(inside, IGNORE_INDEX), num_items_in_batch)
