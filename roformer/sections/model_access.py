"""The one place where evaluators reach into a model: attention weights, queries and keys, another encoding."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from roformer.model import RoFormerPreTrainedModel
from roformer.position import PositionEncoding


@contextmanager
def using_position(model: RoFormerPreTrainedModel, encoding: PositionEncoding) -> Iterator[None]:
    """Lets the encoder of a model use another encoding inside the block."""
    encoder = model.roformer
    trained = encoder.position
    encoder.position = encoding.to(model.device)
    try:
        yield
    finally:
        encoder.position = trained


def attention_weights(model: RoFormerPreTrainedModel, input_ids: Tensor) -> tuple[Tensor, ...]:
    """Returns the weights of each layer, (B, H, L, L), whatever backend the model uses.

    Args:
        model: with softmax attention.
        input_ids: (B, L).
    """
    backends = [layer.backend for layer in model.roformer.layers]
    for backend in backends:  # eager attention, which writes all weights out
        backend.attend = backend.write_out
    try:
        weights: tuple[Tensor, ...] = model.roformer(input_ids.to(model.device), output_attentions=True).attentions
    finally:
        for backend in backends:
            del backend.attend
    return weights


def queries_and_keys(model: RoFormerPreTrainedModel, input_ids: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Returns the queries and keys of each layer before they are rotated, (B, L, H, D) each, in float64 on the CPU."""
    seen: list[Tensor] = []
    with ExitStack() as stack:
        for layer in model.roformer.layers:
            hook = layer.query_key_value.register_forward_hook(lambda _, inputs, output: seen.append(output))
            stack.callback(hook.remove)
        model.roformer(input_ids.to(model.device))
    heads = model.config.num_attention_heads
    split = [projected.double().cpu().unflatten(-1, (3, heads, -1)) for projected in seen]
    return [(each[..., 0, :, :], each[..., 1, :, :]) for each in split]


def as_complex(channels: Tensor, layout: str) -> Tensor:
    """Returns the (..., D/2) rotated pairs of channels as complex numbers."""
    if layout == "interleaved":
        return torch.view_as_complex(channels.unflatten(-1, (-1, 2)).contiguous())
    return torch.complex(*channels.chunk(2, dim=-1))
