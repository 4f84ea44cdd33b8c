"""Encoder and decoder: the model of section 4.1, with transformers' ``generate()``.

Shapes: B batch, S length of the source, L of the target, N predicted tokens, V vocabulary, C hidden size.
"""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GenerationMixin
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.utils.generic import can_return_tuple

from roformer.errors import UserError
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.encoder import RoFormerModel, RoFormerPreTrainedModel, given_or
from roformer.model.heads import predicted_tokens
from roformer.ops.cross_entropy import IGNORE_INDEX, mean_loss

_MAX_LENGTH = 256  # tokens that generate() writes by default; the start token is one


class RoFormerForConditionalGeneration(RoFormerPreTrainedModel, GenerationMixin):
    """Writes a target text to a source text. Source, target and output share one table of embeddings.

    Raises:
        UserError: if ``config.is_encoder_decoder`` is not set.
    """

    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "decoder.embeddings.word_embeddings.weight": "encoder.embeddings.word_embeddings.weight",
        "lm_head.weight": "encoder.embeddings.word_embeddings.weight",
    }

    def __init__(self, config: RoFormerLabConfig) -> None:
        super().__init__(config)
        if not config.is_encoder_decoder:
            raise UserError(
                "RoFormerForConditionalGeneration has an encoder and a decoder: set is_encoder_decoder=True in its "
                "configuration"
            )
        self.encoder = RoFormerModel(_config_of(config))
        self.decoder = RoFormerModel(
            _config_of(config, is_decoder=True, add_cross_attention=True, num_hidden_layers=config.decoder_layers)
        )
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
        self.generation_config.max_length = min(_MAX_LENGTH, self.decoder.position.traits.max_length or _MAX_LENGTH)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.encoder.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.encoder.embeddings.word_embeddings = value
        self.decoder.embeddings.word_embeddings = value

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.lm_head = value

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        past_key_values: EncoderDecoderCache | None = None,
        use_cache: bool | None = None,
        sparse_prediction: bool | None = None,
        num_items_in_batch: int | Tensor | None = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """Predicts the target's tokens from the source and the target before them.

        Args:
            input_ids: (B, S) the source; or ``inputs_embeds`` (B, S, C), or ``encoder_outputs``, whose first item is
                the encoder's (B, S, C) output.
            attention_mask: (B, S), 0 at padding, on either side.
            decoder_input_ids: (B, L) the target after its start token, or ``decoder_inputs_embeds`` (B, L, C); by
                default made from the labels.
            decoder_attention_mask: (B, L), 0 at padding; with a cache, of its tokens as well.
            labels: (B, L) the target, -100 at padding.
            token_type_ids: (B, S), of the source; all 0 by default.
            past_key_values: cache of the target's tokens before these, which are added to it.
            use_cache: return a cache if none was given; by default ``config.use_cache``, with labels none.
            sparse_prediction: compute logits only where there are labels: (N, V).
            num_items_in_batch: as in ``RoFormerForMaskedLM.forward``.
            kwargs: ``output_attentions`` and ``output_hidden_states``, of encoder and decoder, and what else
                transformers gives to a model.

        Returns:
            loss in nats per predicted token (if there are labels; smoothed in training), logits, cache, encoder state.

        Raises:
            UserError: if the inputs are packed, or contradict each other.
        """
        _refuse_packed(attention_mask, kwargs)
        outputs_of_both = ("output_attentions", "output_hidden_states")
        asked = {name: given_or(kwargs.pop(name, None), getattr(self.config, name)) for name in outputs_of_both}
        source = (input_ids, attention_mask, token_type_ids)
        encoder_outputs = self._encoded(encoder_outputs, *source, inputs_embeds=inputs_embeds, **asked)
        if given_or(use_cache, self.config.use_cache and labels is None) and past_key_values is None:
            past_key_values = EncoderDecoderCache(DynamicCache(), DynamicCache())
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self._decoder_inputs(labels)
        outputs = self.decoder(
            input_ids=decoder_input_ids,
            inputs_embeds=decoder_inputs_embeds,
            attention_mask=decoder_attention_mask,
            past_key_values=past_key_values,
            encoder_hidden_states=encoder_outputs.last_hidden_state,
            encoder_attention_mask=attention_mask,
            return_dict=True,
            **asked,
            **kwargs,
        )
        logits, loss = self._predict(outputs.last_hidden_state, labels, sparse_prediction, num_items_in_batch)
        return Seq2SeqLMOutput(
            loss=loss,
            logits=logits,
            past_key_values=past_key_values,
            decoder_hidden_states=outputs.hidden_states,
            decoder_attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
            encoder_hidden_states=encoder_outputs.hidden_states,
            encoder_attentions=encoder_outputs.attentions,
        )

    def _encoded(self, given: Any, *source: Tensor | None, **keywords: Any) -> BaseModelOutput:
        """Returns the encoder's output, unless it was given."""
        outputs = self.encoder(*source, return_dict=True, **keywords) if given is None else given
        return BaseModelOutput(*outputs) if isinstance(outputs, tuple | list) else outputs

    def _predict(
        self,
        hidden_states: Tensor,
        labels: Tensor | None,
        sparse_prediction: bool | None,
        num_items_in_batch: int | Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Returns logits, and the loss if there are labels."""
        predicted = predicted_tokens(self, labels, sparse_prediction)
        if predicted is not None and labels is not None:
            hidden_states, labels = hidden_states.flatten(0, 1)[predicted], labels.flatten()[predicted]
        logits = self.lm_head(hidden_states)
        if labels is None:
            return logits, None
        smoothing = self.config.label_smoothing if self.training else 0.0
        return logits, mean_loss(logits.flatten(0, -2), labels.flatten(), num_items_in_batch, smoothing=smoothing)

    def _decoder_inputs(self, labels: Tensor | None) -> Tensor:
        if labels is None:
            raise UserError("the decoder needs decoder_input_ids, or labels to make them of")
        return self.prepare_decoder_input_ids_from_labels(labels)

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Puts the start token before (B, L) labels, and drops the last one."""
        start = self.config.decoder_start_token_id
        if start is None:
            raise UserError("set decoder_start_token_id in the configuration: the token that every target begins with")
        shifted = F.pad(labels[:, :-1], (1, 0), value=start)
        return shifted.masked_fill(shifted == IGNORE_INDEX, self.config.pad_token_id or 0)


def _refuse_packed(attention_mask: Tensor | None, keywords: Mapping[str, Any]) -> None:
    """Raises ``UserError`` for documents in one row, of which a target would read all sources."""
    for name in ("position_ids", "cu_seqlens", "cu_seq_lens_q"):
        if keywords.get(name) is not None:
            raise UserError(f"an encoder-decoder takes one padded source and target per row; leave {name} out")
    if attention_mask is not None and attention_mask.dim() != 2:
        raise UserError(
            f"attention_mask of an encoder-decoder must be (batch, length), got {tuple(attention_mask.shape)}"
        )


def _config_of(config: RoFormerLabConfig, **changes: bool | int | None) -> RoFormerLabConfig:
    """Returns the configuration of the encoder, or with ``changes`` of the decoder."""
    part = copy.deepcopy(config)
    for name, value in {
        "is_encoder_decoder": False,
        "is_decoder": False,
        "add_cross_attention": False,
        "decoder_layers": None,
        **changes,
    }.items():
        setattr(part, name, value)
    return part
