"""The body of every model: checks its inputs, lays them out, and runs embeddings and layers.

Shapes: B batch, L length, T tokens of a packed batch, C hidden size, E embedding size.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions
from transformers.utils.generic import can_return_tuple

from roformer.attention import ATTENTION_BACKENDS, AttentionBackend, SequenceLayout
from roformer.errors import UserError
from roformer.model.arrangement import Arrangement
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.layers import RoFormerEmbeddings, RoFormerLayer
from roformer.model.local_attention import has_windows
from roformer.model.paged_cache import PagedCache
from roformer.model.pooling import RoFormerPooler
from roformer.model.transformers_interop import TransformersInterop
from roformer.position import POSITION_ENCODINGS, PositionEncoding


class RoFormerPreTrainedModel(TransformersInterop, PreTrainedModel):
    """Loading, saving and initial weights, by transformers."""

    config_class = RoFormerLabConfig
    config: RoFormerLabConfig
    base_model_prefix = "roformer"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = True  # transformers.Trainer then gives num_items_in_batch
    _no_split_modules: ClassVar[list[str]] = ["RoFormerLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: RoFormerLabConfig) -> None:
        super().__init__(config)
        if config.attention_backend == "kernel":  # by its name on the hub, where transformers loads it from there
            config.attention_settings = {"implementation": config._attn_implementation}

    @classmethod
    def _can_set_attn_implementation(cls) -> bool:
        return True

    def set_attn_implementation(self, attn_implementation: str | dict[str, str], **kwargs: Any) -> None:
        """Chooses another attention for a finished model; see ``RoFormerLabConfig.choose_attention``."""
        super().set_attn_implementation(attn_implementation, **kwargs)
        of_whole = attn_implementation.get("") if isinstance(attn_implementation, dict) else attn_implementation
        if of_whole is None:
            return
        self.config.choose_attention(of_whole)
        for module in self.modules():
            if isinstance(module, RoFormerModel):
                module.choose_attention(of_whole)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AttentionBackend):
            module.reset_buffers()


class RoFormerModel(RoFormerPreTrainedModel):
    """The encoder, or with ``config.is_decoder`` the decoder, without a head."""

    transformers_head = "Model"
    accepts_loss_kwargs = False  # it has no loss

    def __init__(self, config: RoFormerLabConfig) -> None:
        if config.is_encoder_decoder:
            raise UserError(
                "RoFormerModel is an encoder or a decoder, and this configuration is of both: use "
                "RoFormerForConditionalGeneration (AutoModelForSeq2SeqLM)"
            )
        super().__init__(config)
        assert config.position is not None
        self.embeddings = RoFormerEmbeddings(config)
        self.position: PositionEncoding = POSITION_ENCODINGS.build(config.position, config.shape)
        ATTENTION_BACKENDS[config.attention_backend].check(self.position)
        self.layers = nn.ModuleList(RoFormerLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.pooler = RoFormerPooler(config) if config.add_pooler else None
        self.post_init()

    def choose_attention(self, attn_implementation: str) -> None:
        """Replaces the backend of every layer; see ``RoFormerLabConfig.choose_attention``."""
        self.config.choose_attention(attn_implementation)
        ATTENTION_BACKENDS[self.config.attention_backend].check(self.position)
        for layer in self.layers:
            assert isinstance(layer, RoFormerLayer)
            layer.backend = self.config.build_attention(rotary_value=self.config.rotary_value).train(self.training)
            if layer.cross_attention is not None:
                layer.cross_attention.backend = self.config.build_attention(rotary_value=False).train(self.training)

    def _arranged(self, layout: SequenceLayout) -> SequenceLayout:
        """Returns the layout with what the backend, the same in all layers, makes once for all of them."""
        layers = cast("Sequence[RoFormerLayer]", self.layers)
        return layers[0].backend.arrange(layout, self.position, {layer.window for layer in layers})

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
        query_indices: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        is_causal: bool | None = None,
        document_lengths: Sequence[int] | None = None,
        cu_seq_lens_q: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions:
        """Encodes padded sequences (B, L), or documents packed end to end (1, T).

        Args:
            input_ids: (B, L) token numbers; or give ``inputs_embeds``, (B, L, E).
            attention_mask: (B, L), with a cache (B, P + L), 0 at padding; or (B, L, P + L) or (B, 1 or H, L, P + L),
                which says for each token what it sees, in a decoder later tokens included. Not with ``cu_seqlens``.
            token_type_ids: (B, L); all 0 by default.
            position_ids: (B, L) in tokens, whole or fractional, any offset; by default 0, 1, 2 ... from the first
                token that is no padding, and from 0 again in each packed document. Without a mask, every whole number
                0 begins a document of its own, as in transformers' padding-free batches.
            cu_seqlens: (documents + 1,) cumulative lengths of packed documents, which do not attend to each other.
            output_attentions: return the weights of each layer; needs softmax attention, which then runs eagerly.
            output_hidden_states: return the embeddings and the output of each layer.
            query_indices: (N,) rising places in all B * L tokens: the last layer computes the output of these only.
            past_key_values: cache of the P tokens before these, which are added to it. Only in a decoder.
            use_cache: in a decoder, return a cache if none was given.
            encoder_hidden_states: (B, S, C) output of an encoder; needed with ``config.add_cross_attention``.
            encoder_attention_mask: (B, S), 0 at the encoder's padding.
            is_causal: whether tokens see no later ones; ``config.is_decoder`` by default.
            document_lengths: those of the packed documents, 0 for an empty one, as Python knows them: without them the
                host waits for ``cu_seqlens`` on the device.
            cu_seq_lens_q: ``cu_seqlens`` by transformers' name.
            kwargs: what else transformers gives to a model, as its cache of continuous batching.

        Returns:
            last_hidden_state (B, L, C), or (N, C) with ``query_indices``; with ``config.add_pooler`` pooler_output
            (B, C); and what else was asked for.

        Raises:
            UserError: if the inputs contradict each other.
            TypeError: for an unknown keyword.
        """
        paged_keys = PagedCache.of(kwargs, self.position, windows=has_windows(self.config))
        cu_seqlens = cu_seqlens if paged_keys or cu_seqlens is not None else cu_seq_lens_q  # pages have a mask
        inputs_embeds = self._embed_inputs(input_ids, inputs_embeds)
        if use_cache and self.config.is_decoder and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        past = self._check_inputs(query_indices, encoder_hidden_states, past_key_values, cu_seqlens)
        arrangement = Arrangement.of(
            inputs_embeds, attention_mask=attention_mask, position_ids=position_ids, cu_seqlens=cu_seqlens,
            document_lengths=document_lengths, causal=given_or(is_causal, self.config.is_decoder), past=past,
            paged=paged_keys is not None,
        )  # fmt: skip
        with self.position.counting(arrangement.counted):
            position_ids = self.position.map_positions(arrangement.position_ids)
            outputs = self._run_layers(
                self.embeddings(inputs_embeds, token_type_ids, self.position, position_ids[:, past:]),
                query_indices,
                output_attentions=given_or(output_attentions, self.config.output_attentions),
                output_hidden_states=given_or(output_hidden_states, self.config.output_hidden_states),
                position=self.position,
                state=self.position.prepare(position_ids),
                layout=self._arranged(arrangement.layout),
                past_key_values=past_key_values,
                paged_keys=paged_keys,
                encoder_hidden_states=encoder_hidden_states,
                encoder_layout=SequenceLayout.padded(encoder_attention_mask),
            )
        if self.pooler is not None and query_indices is None:
            outputs.pooler_output = self.pooler(outputs.last_hidden_state, attention_mask, arrangement.cu_seqlens)
        return outputs

    def _run_layers(
        self,
        hidden_states: Tensor,
        query_indices: Tensor | None,
        *,
        output_attentions: bool,
        output_hidden_states: bool,
        layout: SequenceLayout,
        **shared: Any,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions:
        """Runs the layers; ``shared`` are the arguments that each of them gets."""
        all_hidden_states, all_attentions, all_cross_attentions = [hidden_states], [], []
        for number, layer in enumerate(cast("Sequence[RoFormerLayer]", self.layers), start=1):
            hidden_states, weights, cross_weights = layer(
                hidden_states,
                query_indices=query_indices if number == len(self.layers) else None,
                output_attentions=output_attentions,
                layout=replace(layout, window=layer.window),  # not in the layer: its code would depend on the lengths
                **shared,
            )
            if output_attentions and weights is None:
                raise UserError(
                    "output_attentions needs softmax attention, padded, not packed, input, and no query_indices"
                )
            if output_attentions:
                all_attentions.append(weights)
            if output_attentions and cross_weights is not None:
                all_cross_attentions.append(cross_weights)
            if output_hidden_states:
                all_hidden_states.append(hidden_states)
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=hidden_states,
            past_key_values=shared["past_key_values"],
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attentions=tuple(all_attentions) if output_attentions else None,
            cross_attentions=tuple(all_cross_attentions) or None,
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
        query_indices: Tensor | None,
        encoder_hidden_states: Tensor | None,
        past_key_values: Cache | None,
        cu_seqlens: Tensor | None,
    ) -> int:
        """Returns the number of cached tokens."""
        if query_indices is not None and (query_indices.dim() != 1 or query_indices.dtype == torch.bool):
            raise UserError(
                "query_indices are the places of tokens in all rows, one row of whole numbers, got "
                f"{query_indices.dtype} and {tuple(query_indices.shape)}"
            )
        if self.config.add_cross_attention != (encoder_hidden_states is not None):
            raise UserError("encoder_hidden_states are for models with add_cross_attention, and needed there")
        if past_key_values is None:
            return 0
        if not self.config.is_decoder or cu_seqlens is not None or query_indices is not None:
            raise UserError(
                "past_key_values needs a model with is_decoder, padded, not packed, input, and no query_indices"
            )
        return int(past_key_values.get_seq_length())


def given_or(given: bool | None, configured: bool) -> bool:
    """Returns an argument, or where it was not given what is configured."""
    return configured if given is None else given
