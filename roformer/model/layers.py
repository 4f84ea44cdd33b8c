"""Embeddings and the post-norm Transformer layer, with positions wherever the encoding puts them.

Shapes: B batch, L length, C hidden size, E embedding size, H heads, D head size.
"""

from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from roformer.attention import ATTENTION_BACKENDS, AttentionBackend, AttentionInputs, SequenceLayout
from roformer.errors import UserError
from roformer.model.configuration import RoFormerConfig
from roformer.model.cross_attention import RoFormerCrossAttention
from roformer.ops.dropout import Dropout
from roformer.position import PositionEncoding, PositionState


class RoFormerEmbeddings(nn.Module):
    """Token + type (+ position) embeddings, normed, dropped out and brought to the layers' width."""

    def __init__(self, config: RoFormerConfig) -> None:
        super().__init__()
        size = config.embedding_size or config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, size, padding_idx=config.pad_token_id)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, size) if config.type_vocab_size else None
        self.norm = nn.LayerNorm(size, eps=config.layer_norm_eps) if config.normalize_embedding else nn.Identity()
        self.scale = size**0.5 if config.scale_embedding else 1.0
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.project = nn.Linear(size, config.hidden_size) if size != config.hidden_size else nn.Identity()

    def forward(
        self, inputs_embeds: Tensor, token_type_ids: Tensor | None, position: PositionEncoding, position_ids: Tensor
    ) -> Tensor:
        types = self.token_type_embeddings
        if types is not None:
            inputs_embeds = inputs_embeds + (types.weight[0] if token_type_ids is None else types(token_type_ids))
        elif token_type_ids is not None:
            raise UserError("this model has no token types (type_vocab_size 0); leave token_type_ids out")
        if self.scale != 1:
            inputs_embeds = inputs_embeds * self.scale
        hidden_states = position.embed(inputs_embeds, position_ids)
        return self.project(self.dropout(self.norm(hidden_states)))


class RoFormerLayer(GradientCheckpointingLayer):
    """Self-attention, with ``config.add_cross_attention`` attention to an encoder, and a feed-forward network, each
    followed by dropout, addition and norm, as in BERT and in Vaswani et al."""

    def __init__(self, config: RoFormerConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads = config.num_attention_heads
        self.backend: AttentionBackend = ATTENTION_BACKENDS.build(
            config.attention, config.shape, config.attention_probs_dropout_prob, config.rotary_value
        )
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.attention_output = nn.Linear(config.hidden_size, config.hidden_size)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.cross_attention = RoFormerCrossAttention(config, layer) if config.add_cross_attention else None
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.output_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        hidden_states: Tensor,
        *,
        position: PositionEncoding,
        state: PositionState,
        layout: SequenceLayout,
        query_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_layout: SequenceLayout | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Maps (B, L, C) to (B, L, C), and to the (B, H, L, L) attention weights where the backend has them.

        With ``query_mask`` (B, L), True for N tokens, to (N, C): the others are keys and values only. The tokens of
        ``past_key_values``, whose keys are not rotated, come before these, which are added to it.
        """
        # (B, L, 3, H, D) -> three times (B, H, L, D)
        query, key, value = (
            self.query_key_value(hidden_states).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        )
        if past_key_values is not None:
            own = getattr(past_key_values, "self_attention_cache", past_key_values)  # an encoder-decoder has two
            key, value = own.update(key, value, self.layer)
        context, weights = self.backend(
            AttentionInputs(
                query=query, key=key, value=value, position=position, state=state, layout=layout, layer=self.layer,
                query_mask=query_mask, output_attentions=output_attentions,
            )
        )  # fmt: skip
        if query_mask is not None:
            hidden_states = hidden_states[query_mask]
        attended = self.dropout(self.attention_output(context))
        hidden_states = self.attention_norm(hidden_states + attended)
        if self.cross_attention is not None:
            hidden_states = self.cross_attention(
                hidden_states, encoder_hidden_states, encoder_layout, past_key_values=past_key_values
            )
        expanded = self.dropout(self.output(self.activation(self.intermediate(hidden_states))))
        return self.output_norm(hidden_states + expanded), weights
