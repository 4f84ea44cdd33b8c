"""What is measured: a contestant's training steps, or its inference, over batches of documents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.contestants import EVERYONE, PEERS, Documents, Inputs, Sizes
from benchmarks.flops import forward_flops, training_flops
from roformer.data.sampler import batches_by_length
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.runtime.precision import autocast
from roformer.training.compilation import compile_layers

AS_IT_COMES = "as it comes"
_INFERENCE_TOKENS = 8192  # of a batch, as in our evaluation
_WARM_UP, _PROFILED = 5, 3  # passes under the profiler, whose own memory is new in the first ones


@dataclass(frozen=True)
class Case:
    """What is measured: ``training`` steps, or ``inference`` of the encoder, over these batches of documents.

    Attributes:
        length: of every document, in tokens; None where they have their real lengths.
        backend: of attention, for ours.
    """

    work: str
    batches: Sequence[Documents]
    sizes: Sizes
    length: int | None
    precision: str
    backend: str

    def summary(self) -> dict[str, Any]:
        """Returns tokens, and operations that are needed, of one pass."""
        documents = [document for batch in self.batches for document in batch]
        lengths = [len(tokens) for tokens, _ in documents]
        if self.work == "training":
            predicted = sum(int((labels != IGNORE_INDEX).sum()) for _, labels in documents)
            flops = training_flops(self.sizes, lengths, predicted)
        else:
            flops = forward_flops(self.sizes, lengths, None, self.sizes.windows)
        return {
            "work": self.work, "length": self.length, "documents": len(documents), "tokens": sum(lengths),
            "flops": flops,
        }  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """How a contestant is run: as it comes, or better.

    Attributes:
        keep_memory: with freed memory kept in the process, as our entry points do it.
        compiled: by ``torch.compile`` with its defaults; ours as ``trainer.compile`` does it.
        any_length: compiled once, not again for a second length.
        by_length: on documents sorted by length; in inference in the same batches as ours.
    """

    keep_memory: bool = False
    compiled: bool = False
    any_length: bool = False
    by_length: bool = False

    def __str__(self) -> str:
        words = {
            "keep_memory": "memory kept",
            "compiled": "compiled",
            "any_length": "for any length",
            "by_length": "sorted by length",
        }
        return ", ".join(text for key, text in words.items() if getattr(self, key)) or AS_IT_COMES


class Task:
    """A contestant's model and its batches, on a device.

    Args:
        name: of the contestant.
        variant: how it runs.
        case: what it does first.
        device: where.

    Attributes:
        description: what is worth knowing of the contestant.
        inputs: the batches of the case.
        run: does the work on batches.
    """

    def __init__(self, name: str, variant: Variant, case: Case, device: torch.device) -> None:
        self._contestant, self._is_ours, self._variant = EVERYONE[name], name not in PEERS, variant
        self.device = device
        torch.manual_seed(0)
        self._model = self._contestant.build(case.sizes, case.backend).to(device)
        self.description = {
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "attention": self._model.config.attention_backend if self._is_ours else None,
        }
        self._forward: dict[str, Callable[..., Any]] = {}
        self.take(case)

    def take(self, case: Case) -> None:
        """Begins other work with the same model; what is compiled stays so."""
        self.rest()
        batches = rebatch(case, ours=self._is_ours, by_length=self._variant.by_length)
        self.inputs = [_to_device(self._contestant.collate(batch), self.device) for batch in batches]
        training = case.work == "training"
        model = self._model.train() if training else self._model.eval()
        if case.work not in self._forward:
            module = model if training else model.base_model
            self._forward[case.work] = self._compiled(module) if self._variant.compiled else module
        work = _training if training else _inference
        self.run = work(model, self._forward[case.work], case.precision, self.device)

    def rest(self) -> None:
        """Frees batches, gradients, and the optimizer."""
        self.inputs: list[Inputs] = []
        self.run: Callable[[list[Inputs]], None] = lambda batches: None
        self._model.zero_grad()

    def profile(self, operations: int) -> list[tuple[str, float, int]]:
        """Returns the operations that take the most time: name, share of the time, calls per pass."""
        schedule = torch.profiler.schedule(wait=0, warmup=_WARM_UP, active=_PROFILED, repeat=1)
        with torch.profiler.profile(schedule=schedule, acc_events=True) as profiler:
            for _ in range(_WARM_UP + _PROFILED):
                self.run(self.inputs)
                profiler.step()
        spent = "self_cpu_time_total" if self.device.type == "cpu" else "self_device_time_total"
        events = sorted(profiler.key_averages(), key=lambda event: -getattr(event, spent))
        total = sum(getattr(event, spent) for event in events)
        return [(e.key, getattr(e, spent) / total, e.count // _PROFILED) for e in events[:operations]]

    def _compiled(self, module: nn.Module) -> Callable[..., Any]:
        if self._is_ours:
            if not self._forward:  # training and inference share the layers
                compile_layers(module, self.device)
            return module
        compiled: Callable[..., Any] = torch.compile(module, dynamic=self._variant.any_length or None)
        return compiled


def rebatch(case: Case, *, ours: bool, by_length: bool) -> Sequence[Documents]:
    """Returns the batches of documents that a contestant takes; in inference ours sorts those of many lengths, as its
    evaluation does."""
    if case.length or (not by_length and not (ours and case.work == "inference")):
        return case.batches
    documents = [document for batch in case.batches for document in batch]
    lengths = np.array([len(tokens) for tokens, _ in documents])
    if case.work == "inference":
        return [[documents[i] for i in batch] for batch in batches_by_length(lengths, _INFERENCE_TOKENS)]
    order = iter(np.argsort(-lengths, kind="stable").tolist())
    return [[documents[next(order)] for _ in batch] for batch in case.batches]


def _training(
    model: nn.Module, forward: Callable[..., Any], precision: str, device: torch.device
) -> Callable[[list[Inputs]], None]:
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def run(batches: list[Inputs]) -> None:
        for batch in batches:
            with autocast(precision, device):
                loss = forward(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def _inference(
    model: nn.Module, forward: Callable[..., Any], precision: str, device: torch.device
) -> Callable[[list[Inputs]], None]:
    def run(batches: list[Inputs]) -> None:
        with torch.inference_mode(), autocast(precision, device):
            for batch in batches:
                forward(**{key: value for key, value in batch.items() if key not in ("labels", "query_indices")})

    return run


def _to_device(inputs: Inputs, device: torch.device) -> Inputs:
    return {key: value.to(device) if torch.is_tensor(value) else value for key, value in inputs.items()}
