"""Embeddings and the post-norm Transformer layer, with positions wherever the encoding puts them.

Shapes: B batch, L length, C hidden size, E embedding size, H heads, D head size.
"""

from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from roformer.attention import AttentionInputs, PagedKeys, SequenceLayout
from roformer.errors import UserError
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.cross_attention import RoFormerCrossAttention
from roformer.model.local_attention import layer_window
from roformer.model.norm import build_norm
from roformer.ops.dropout import Dropout
from roformer.position import PositionEncoding, PositionState


class RoFormerEmbeddings(nn.Module):
    """Token + type (+ position) embeddings, normed, dropped out and brought to the layers' width."""

    def __init__(self, config: RoFormerLabConfig) -> None:
        super().__init__()
        size = config.embedding_size or config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, size, padding_idx=config.pad_token_id)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, size) if config.type_vocab_size else None
        self.norm = build_norm(config, size) if config.normalize_embedding else nn.Identity()
        self.scale = size**0.5 if config.scale_embedding else 1.0
        self.dropout = Dropout(config.hidden_dropout_prob)
        same = size == config.hidden_size
        self.project = nn.Identity() if same else nn.Linear(size, config.hidden_size, bias=config.use_bias)

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

    def __init__(self, config: RoFormerLabConfig, layer: int) -> None:
        super().__init__()
        size, bias = config.hidden_size, config.use_bias
        self.layer = layer
        self.num_heads = config.num_attention_heads
        self.window = layer_window(config, layer)
        self.backend = config.build_attention(rotary_value=config.rotary_value)
        self.query_key_value = nn.Linear(size, 3 * size, bias=bias)
        self.attention_output = nn.Linear(size, size, bias=bias)
        self.attention_norm = build_norm(config, size)
        self.cross_attention = RoFormerCrossAttention(config, layer) if config.add_cross_attention else None
        self.intermediate = nn.Linear(size, config.intermediate_size, bias=bias)
        self.activation = ACT2FN[config.hidden_act]
        self.output = nn.Linear(config.intermediate_size, size, bias=bias)
        self.output_norm = build_norm(config, size)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        hidden_states: Tensor,
        *,
        position: PositionEncoding,
        state: PositionState,
        layout: SequenceLayout,
        query_indices: Tensor | None = None,
        past_key_values: Cache | None = None,
        paged_keys: PagedKeys | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_layout: SequenceLayout | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Maps (B, L, C) to (B, L, C), and to the weights of both attentions, (B, H, L, L) and (B, H, L, S), where the
        backend has them.

        With ``query_indices``, (N,) places in all B * L tokens, to (N, C): the others are keys and values only. The
        tokens of ``past_key_values``, whose keys are not rotated, come before these, which are added to it.
        """
        query, key, value = self.project(hidden_states)
        if past_key_values is not None:
            own = getattr(past_key_values, "self_attention_cache", past_key_values)  # an encoder-decoder has two
            key, value = own.update(key, value, self.layer)
            seen = int(own.get_seq_length(self.layer))  # a static cache has rows for tokens to come
            key, value = key[:, :, :seen], value[:, :, :seen]
        context, weights = self.backend(
            AttentionInputs(
                query=query, key=key, value=value, position=position, state=state, layout=layout, layer=self.layer,
                query_indices=query_indices, output_attentions=output_attentions, paged_keys=paged_keys,
            )
        )  # fmt: skip
        if query_indices is not None:
            hidden_states = hidden_states.flatten(0, 1)[query_indices]
        hidden_states = self.add_attention(hidden_states, context)
        cross_weights = None
        if self.cross_attention is not None:
            hidden_states, cross_weights = self.cross_attention(
                hidden_states,
                encoder_hidden_states,
                encoder_layout,
                past_key_values=past_key_values,
                output_attentions=output_attentions,
            )
        return self.feed_forward(hidden_states), weights, cross_weights

    # Around attention a layer is three functions of tensors, whose graphs depend on no layout: torch.compile takes
    # each as a whole (roformer/training/compilation.py), whatever the backend does in between.

    def project(self, hidden_states: Tensor) -> tuple[Tensor, ...]:
        """Returns queries, keys and values: (B, L, C) to three times (B, H, L, D)."""
        heads = self.query_key_value(hidden_states).unflatten(-1, (3, self.num_heads, -1))
        return heads.permute(2, 0, 3, 1, 4).unbind(0)

    def add_attention(self, hidden_states: Tensor, context: Tensor) -> Tensor:
        """Adds the output of attention to (B, L, C) or (N, C), and norms."""
        return self.attention_norm(hidden_states + self.dropout(self.attention_output(context)))

    def feed_forward(self, hidden_states: Tensor) -> Tensor:
        """Adds the output of the feed-forward network to (B, L, C) or (N, C), and norms."""
        expanded = self.dropout(self.output(self.activation(self.intermediate(hidden_states))))
        return self.output_norm(hidden_states + expanded)
