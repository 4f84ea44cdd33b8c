"""The norms of a RoFormer. Shapes: C channels."""

from torch import Tensor, nn

from roformer.model.configuration import RoFormerLabConfig


class RootMeanSquareNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) over the channels, without weights, as in RoFormerV2."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., C) to (..., C); the mean is taken in float32."""
        return x * (x.float().square().mean(-1, keepdim=True) + self.eps).rsqrt().to(x.dtype)


def build_norm(config: RoFormerLabConfig, size: int) -> nn.Module:
    """Returns the norm of ``size`` channels that ``config.norm_type`` names."""
    if config.norm_type == "rms_norm":
        return RootMeanSquareNorm(config.layer_norm_eps)
    if config.norm_type == "scaled_rms_norm":
        return nn.RMSNorm(size, eps=config.layer_norm_eps)
    return nn.LayerNorm(size, eps=config.layer_norm_eps, bias=config.use_bias)
