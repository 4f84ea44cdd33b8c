"""The encoder with a head that finds the answer to a question in a text.

Shapes: B batch, L length, C hidden size.
"""

from typing import Any

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
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput:
        """Scores padded sequences; the other inputs are those of ``RoFormerModel.forward``.

        Args:
            start_positions, end_positions: (B,) places of the answer's first and last token; a place beyond the
                sequence counts for nothing.

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
        start_logits, end_logits = self.qa_outputs(outputs.last_hidden_state).unbind(dim=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (_loss(start_logits, start_positions) + _loss(end_logits, end_positions)) / 2
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


def _loss(logits: Tensor, places: Tensor) -> Tensor:
    places = places.flatten()
    inside = (places >= 0) & (places < logits.shape[1])
    return mean_loss(logits, places.where(inside, IGNORE_INDEX), None)
