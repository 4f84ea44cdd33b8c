"""The body of every model: checks its inputs, lays them out, and runs embeddings and layers.

Shapes: B batch, L length, T tokens of a packed batch, C hidden size, E embedding size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils.generic import can_return_tuple

from roformer.attention import ATTENTION_BACKENDS, AttentionBackend, SequenceLayout, document_ids
from roformer.errors import UserError
from roformer.model.configuration import RoFormerConfig
from roformer.model.layers import RoFormerEmbeddings, RoFormerLayer
from roformer.position import POSITION_ENCODINGS, PositionEncoding, PositionState


class RoFormerPreTrainedModel(PreTrainedModel):
    """Loading, saving and initial weights, by transformers."""

    config_class = RoFormerConfig
    config: RoFormerConfig
    base_model_prefix = "roformer"
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["RoFormerLayer"]

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AttentionBackend):
            module.reset_buffers()


class RoFormerModel(RoFormerPreTrainedModel):
    """The encoder, or with ``config.is_decoder`` the decoder, without a head."""

    def __init__(self, config: RoFormerConfig) -> None:
        super().__init__(config)
        assert config.position is not None
        self.embeddings = RoFormerEmbeddings(config)
        self.position: PositionEncoding = POSITION_ENCODINGS.build(config.position, config.shape)
        ATTENTION_BACKENDS[config.attention_backend].check(self.position)
        self.layers = nn.ModuleList(RoFormerLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embeddings.word_embeddings = value

    @contextmanager
    def using_position(self, position: PositionEncoding) -> Iterator[None]:
        """Runs the model with another position encoding within a ``with`` block.

        Raises:
            UserError: if the attention backend cannot honor it.
        """
        ATTENTION_BACKENDS[self.config.attention_backend].check(position)
        own = self.position
        self.position = position.to(self.device).train(self.training)
        try:
            yield
        finally:
            self.position = own

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        query_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
    ) -> BaseModelOutputWithPast:
        """Encodes padded sequences (B, L), or documents packed end to end (1, T).

        Args:
            input_ids: (B, L) token numbers; or give ``inputs_embeds``, (B, L, E).
            attention_mask: (B, L), with a cache (B, P + L), 0 at padding. Not with ``cu_seqlens``.
            token_type_ids: (B, L); all 0 by default.
            position_ids: (B, L) in tokens, whole or fractional, any offset; by default 0, 1, 2 ... from the first
                token that is no padding, and from 0 again in each packed document.
            cu_seqlens: (documents + 1,) cumulative lengths of packed documents, which do not attend to each other.
            output_attentions: return the weights of each layer; needs softmax attention, which then runs eagerly.
            output_hidden_states: return the embeddings and the output of each layer.
            query_mask: (B, L), True for N tokens: the last layer computes the output of these only, (N, C).
            past_key_values: cache of the P tokens before these, which are added to it. Only in a decoder.
            encoder_hidden_states: (B, S, C) output of an encoder; needed with ``config.add_cross_attention``.
            encoder_attention_mask: (B, S), 0 at the encoder's padding.

        Raises:
            UserError: if the inputs contradict each other.
        """
        inputs_embeds = self._embed_inputs(input_ids, inputs_embeds)
        past = self._check_inputs(inputs_embeds, query_mask, encoder_hidden_states, past_key_values, cu_seqlens)
        layout, position_ids = self._arrange(inputs_embeds, attention_mask, position_ids, cu_seqlens, past)
        position_ids = self.position.map_positions(position_ids)
        state = self.position.prepare(position_ids)
        return self._run_layers(
            self.embeddings(inputs_embeds, token_type_ids, self.position, position_ids[:, past:]),
            output_attentions=_given_or(output_attentions, self.config.output_attentions),
            output_hidden_states=_given_or(output_hidden_states, self.config.output_hidden_states),
            query_mask=query_mask,
            state=state,
            layout=layout,
            past_key_values=past_key_values,
            encoder_hidden_states=encoder_hidden_states,
            encoder_layout=SequenceLayout.padded(encoder_attention_mask),
        )

    def _run_layers(
        self,
        hidden_states: Tensor,
        *,
        output_attentions: bool,
        output_hidden_states: bool,
        state: PositionState,
        layout: SequenceLayout,
        query_mask: Tensor | None,
        past_key_values: Cache | None,
        encoder_hidden_states: Tensor | None,
        encoder_layout: SequenceLayout,
    ) -> BaseModelOutputWithPast:
        all_hidden_states, all_attentions = [hidden_states], []
        for number, layer in enumerate(self.layers, start=1):
            hidden_states, weights = layer(
                hidden_states,
                position=self.position,
                state=state,
                layout=layout,
                query_mask=query_mask if number == len(self.layers) else None,
                past_key_values=past_key_values,
                encoder_hidden_states=encoder_hidden_states,
                encoder_layout=encoder_layout,
                output_attentions=output_attentions,
            )
            if output_attentions and weights is None:
                raise UserError("output_attentions needs softmax attention, padded, not packed, input, no query_mask")
            if output_attentions:
                all_attentions.append(weights)
            if output_hidden_states:
                all_hidden_states.append(hidden_states)
        return BaseModelOutputWithPast(
            last_hidden_state=hidden_states,
            past_key_values=past_key_values,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(all_attentions) if output_attentions else None,
        )

    def _embed_inputs(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        if (input_ids is None) == (inputs_embeds is None):
            raise UserError("give either input_ids or inputs_embeds")
        if inputs_embeds is not None:
            return inputs_embeds
        assert input_ids is not None
        return self.embeddings.word_embeddings(input_ids)

    def _check_inputs(
        self,
        inputs: Tensor,
        query_mask: Tensor | None,
        encoder_hidden_states: Tensor | None,
        past_key_values: Cache | None,
        cu_seqlens: Tensor | None,
    ) -> int:
        """Returns the number of cached tokens."""
        if query_mask is not None and (query_mask.shape != inputs.shape[:2] or query_mask.dtype != torch.bool):
            raise UserError(
                f"query_mask must be boolean and {tuple(inputs.shape[:2])}, got {query_mask.dtype} and "
                f"{tuple(query_mask.shape)}"
            )
        if self.config.add_cross_attention != (encoder_hidden_states is not None):
            raise UserError("encoder_hidden_states are for models with add_cross_attention, and needed there")
        if past_key_values is None:
            return 0
        if not self.config.is_decoder or cu_seqlens is not None or query_mask is not None:
            raise UserError(
                "past_key_values needs a model with is_decoder, padded, not packed, input, and no query_mask"
            )
        return int(past_key_values.get_seq_length())

    def _arrange(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        cu_seqlens: Tensor | None,
        past: int,
    ) -> tuple[SequenceLayout, Tensor]:
        """Returns the layout, and positions (B or 1, past + L)."""
        batch, length = inputs.shape[:2]
        causal = self.config.is_decoder and length > 1  # a single token is the last one and attends to all
        tokens = torch.arange(past + length, device=inputs.device)[None]
        if cu_seqlens is None:
            layout = SequenceLayout.padded(attention_mask, causal=causal)
            if attention_mask is not None and attention_mask.shape != (batch, past + length):
                raise UserError(
                    f"attention_mask must be ({batch}, {past + length}), got {tuple(attention_mask.shape)}"
                )
            if attention_mask is not None:
                padding = attention_mask.long().argmax(dim=1, keepdim=True)  # on the left
                if torch.compiler.is_compiling() or bool(padding.any()):
                    tokens = (tokens - padding).clamp(min=0)
        elif attention_mask is not None or batch != 1:
            raise UserError(f"packed input is (1, T) with cu_seqlens and no attention_mask; got a batch of {batch}")
        else:
            layout = SequenceLayout.packed(cu_seqlens, length, causal=causal)
            tokens = tokens - cu_seqlens[document_ids(cu_seqlens, length)]
        if position_ids is None:
            return layout, tokens
        if position_ids.dim() != 2 or position_ids.shape[0] not in (1, batch) or position_ids.shape[1] != length:
            raise UserError(f"position_ids must be ({batch}, {length}), got {tuple(position_ids.shape)}")
        if past:
            # nothing attends to the padding before the text: any position that every table has will do
            before = (position_ids[:, :1] - torch.arange(past, 0, -1, device=inputs.device)).clamp(min=0)
            position_ids = torch.cat((before, position_ids), dim=1)
        return layout, position_ids


def _given_or(given: bool | None, configured: bool) -> bool:
    return configured if given is None else given
