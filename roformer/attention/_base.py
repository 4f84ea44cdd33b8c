"""The contract of an attention backend.

Shapes: B batch, H heads, L length, Q queries, D head size. Packed: B = 1 and L = T, all tokens of all documents.
"""

from abc import ABC, abstractmethod
from collections.abc import Set
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from roformer.attention.layout import SequenceLayout
from roformer.errors import UserError
from roformer.ops.dropout import Dropout
from roformer.position import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState
from roformer.registry import Registry
from roformer.renamed import ATTENTION_NAMES


class PagedKeys(Protocol):
    """A cache of many texts' keys and values in pages, as serving engines have it."""

    def update(self, key: Tensor, value: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Adds (1, H, T, D) rotated keys and values, and returns those that these queries may see, (1, H, K, D)."""


@dataclass(frozen=True, kw_only=True)
class AttentionInputs:
    """What a layer gives to its backend.

    Attributes:
        query, key, value: (B, H, L, D). With a cache of earlier tokens the queries are the last ones only,
            (B, H, Q, D).
        position: the encoding.
        state: what its ``prepare`` returned, for all L tokens.
        layout: which tokens attend to which.
        layer: number of the layer, from 0.
        query_indices: (N,) rising places, in all B * Q tokens, of those whose output is needed; None for all.
        output_attentions: whether the weights are needed; softmax attention then runs eagerly.
        paged_keys: cache of the keys and values of earlier tokens, which need not stand in a row.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    position: PositionEncoding
    state: PositionState
    layout: SequenceLayout
    layer: int
    query_indices: Tensor | None = None
    output_attentions: bool = False
    paged_keys: PagedKeys | None = None

    @property
    def query_state(self) -> PositionState:
        """The part of the state that belongs to the queries, the last tokens."""
        return tuple(each[:, :, -self.query.shape[2] :] for each in self.state)

    def needed(self, output: Tensor) -> Tensor:
        """Returns the (N, *) rows of (B, Q, *) whose output is needed, or all of it."""
        return output if self.query_indices is None else output.flatten(0, 1)[self.query_indices]

    def runs(self) -> list["AttentionInputs"]:
        """Cuts packed documents into batches of neighbors of one length, (documents, H, length, D)."""
        runs = self.layout.runs()
        sizes = [documents * length for documents, length in runs]
        # split, not slices: the gradient of each slice would be as large as the whole
        parts = (x.split(sizes, dim=2) for x in (self.query, self.key, self.value, *self.state))
        layout = SequenceLayout(causal=self.layout.causal, window=self.layout.window)
        cut = []
        for (documents, length), query_indices, *run in zip(runs, self._query_indices(sizes), *parts, strict=True):
            # a single document is a view that products take as it is
            q, k, v, *state = (x.unflatten(2, (documents, length)).squeeze(0).transpose(0, 1) for x in run)
            if documents > 1:
                q, k, v = (x.contiguous() for x in (q, k, v))
            cut.append(
                replace(self, query=q, key=k, value=v, state=tuple(state), layout=layout, query_indices=query_indices)
            )
        return cut

    def _query_indices(self, sizes: list[int]) -> list[Tensor | None]:
        """Returns for each run of packed documents, of so many tokens, the needed ones from its own beginning."""
        if self.query_indices is None:
            return [None] * len(sizes)
        stops = list(accumulate(sizes))
        places = torch.searchsorted(self.query_indices, torch.tensor(stops[:-1])).tolist()
        parts = self.query_indices.tensor_split(places)
        return [part - start for part, start in zip(parts, [0, *stops[:-1]], strict=True)]


class AttentionBackend(nn.Module, ABC):
    """Lets tokens read others, with positions, on padded or packed sequences.

    Args:
        shape: sizes of the model.
        dropout: probability that an attention weight is dropped in training.
        rotary_value: rotate the values as well (``rotary_value`` of Hugging Face RoFormer).

    The settings of a backend's yaml follow as keyword-only arguments.

    Attributes:
        settled: the training is near its end: what the backend draws at random stays as it is.
    """

    knows_windows: ClassVar[bool] = False
    """Whether it honors ``SequenceLayout.window``."""

    def __init__(self, shape: ModelShape, dropout: float, rotary_value: bool) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.rotary_value = rotary_value
        self.settled = False

    def reset_buffers(self) -> None:
        """Draws anew the random numbers that are no weights."""

    @classmethod
    def refusal(cls, position: PositionEncoding) -> str | None:
        """Returns why this backend cannot honor an encoding, or None if it can."""
        return None

    @classmethod
    def check(cls, position: PositionEncoding) -> None:
        """Raises ``UserError`` if this backend cannot honor an encoding; the message lists those that it can."""
        if reason := cls.refusal(position):
            raise UserError(f"{reason}; use attention=sdpa, or position={' | '.join(cls.supported_encodings())}")

    @classmethod
    def supported_encodings(cls) -> list[str]:
        """Returns the names of the encodings that this backend honors with their default settings."""
        supported = []
        for name in POSITION_ENCODINGS:
            try:
                position = POSITION_ENCODINGS.build({"name": name}, ModelShape(hidden_size=64))
            except UserError:  # it has settings without a default
                continue
            if cls.refusal(position) is None:
                supported.append(name)
        return supported

    @classmethod
    def check_window(cls, window: int | None) -> None:
        """Raises ``UserError`` if this backend cannot honor a window."""
        if window is not None and not cls.knows_windows:
            raise UserError(
                f"{cls.__name__} attends to whole texts and has no local attention: set model.local_attention=null, "
                "or choose attention=sdpa"
            )

    def rotate_inputs(self, inputs: AttentionInputs) -> AttentionInputs:
        """Rotates queries, keys and, with ``rotary_value``, values (eq. 16)."""
        position, state = inputs.position, inputs.state
        return replace(
            inputs,
            query=position.rotate(inputs.query, inputs.query_state),
            key=position.rotate_key(inputs.key, state),
            value=position.rotate(inputs.value, state) if self.rotary_value else inputs.value,
        )

    def arrange(self, layout: SequenceLayout, position: PositionEncoding, windows: Set[int | None]) -> SequenceLayout:
        """Returns the layout with what all layers of this backend need; called once per forward pass.

        Args:
            layout: without a window.
            position: the encoding.
            windows: those of the layers.
        """
        return layout

    @abstractmethod
    def attend(self, inputs: AttentionInputs) -> tuple[Tensor, Tensor | None]:
        """Attends over what ``rotate_inputs`` returned, never packed; returns what ``forward`` does."""

    def forward(self, inputs: AttentionInputs) -> tuple[Tensor, Tensor | None]:
        """Attends, and concatenates the heads.

        Returns:
            (B, Q, H D), or (N, H D) with ``query_indices``; and the weights (B, H, Q, L), or None for packed
            sequences, with ``query_indices``, and for backends that have none.
        """
        self.check_window(inputs.layout.window)
        inputs = self.rotate_inputs(inputs)
        if inputs.paged_keys is not None:
            key, value = inputs.paged_keys.update(inputs.key, inputs.value, inputs.layer)
            inputs = replace(inputs, key=key, value=value)
        if inputs.layout.cu_seqlens is None:
            return self.attend(inputs)
        return self.attend_packed(inputs), None

    @torch.compiler.disable  # a graph would be of these lengths alone
    def attend_packed(self, inputs: AttentionInputs) -> Tensor:
        """Attends within each document of (1, H, T, D) that ``rotate_inputs`` returned; returns what ``forward`` does.

        By default one run of documents of one length after the other, which is the fastest way on a CPU.
        """
        if inputs.query_indices is not None and inputs.query.device.type == "cpu":
            return torch.cat([self.attend(run)[0] for run in inputs.runs()])
        runs = replace(inputs, query_indices=None).runs()
        return inputs.needed(torch.cat([self.attend(run)[0].flatten(0, 1) for run in runs])[None])


ATTENTION_BACKENDS: Registry[AttentionBackend] = Registry("attention backend", old_names=ATTENTION_NAMES)
