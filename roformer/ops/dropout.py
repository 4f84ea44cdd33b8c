"""Dropout whose random numbers do not cost more, on a CPU, than the layer whose output it thins out."""

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16  # of a probability: one 64-bit random number decides over four elements


class Dropout(nn.Dropout):
    """``nn.Dropout``, four times as fast on a CPU, where ``p`` is rounded to 1/65536; elsewhere, and under
    ``torch.compile``, the same."""

    def forward(self, x: Tensor) -> Tensor:
        if (
            not self.training
            or not 0 < self.p < 1 - 1 / _LEVELS
            or x.device.type != "cpu"
            or torch.compiler.is_compiling()
        ):
            return super().forward(x)
        return torch.where(draw_kept(x.shape, self.p), x * survivor_scale(self.p), 0)


def draw_kept(shape: torch.Size, probability: float, generator: torch.Generator | None = None) -> Tensor:
    """Draws the boolean mask of the elements that dropout keeps, on the generator's device."""
    device = generator.device if generator else torch.device("cpu")
    draws = torch.empty(-(-shape.numel() // 4), dtype=torch.int64, device=device)
    draws.random_(-(2**63), None, generator=generator)
    threshold = round(probability * _LEVELS) - _LEVELS // 2
    return (draws.view(torch.int16)[: shape.numel()] >= threshold).view(shape)


def survivor_scale(probability: float) -> float:
    """Returns the factor on what ``draw_kept`` keeps, such that the expected sum stays the same."""
    return _LEVELS / (_LEVELS - round(probability * _LEVELS))
