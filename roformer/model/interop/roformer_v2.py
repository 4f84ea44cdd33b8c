"""RoFormerV2: no biases, root mean square norms without weights, and the output layer alone as a head.

Its ``config.json`` has stock RoFormer's ``model_type``, with ``norm_type: rms_norm`` and ``use_bias: false``.
transformers reads it as a RoFormer whose missing weights it draws.

Source: Su et al. 2022, ZhuiyiTechnology/roformer-v2; the names are those of JunnYu/RoFormer_pytorch, version 0.4.3.
"""

from typing import Any

from transformers import PretrainedConfig

from roformer.errors import UserError
from roformer.model.interop.roformer import StockRoFormer


class RoFormerV2(StockRoFormer):
    """RoFormerV2 as the package ``roformer`` of PyPI stores it."""

    name = "RoFormerV2"

    @classmethod
    def reads(cls, stored: dict[str, Any]) -> bool:
        return stored.get("model_type") == "roformer" and not StockRoFormer.reads(stored)

    @classmethod
    def own_settings(cls, config: PretrainedConfig) -> dict[str, Any]:
        norm, bias = config.norm_type, getattr(config, "use_bias", True)
        if norm != "rms_norm" or bias:
            raise UserError(f"a RoFormer with norm_type={norm} has no biases here, and this one has use_bias={bias}")
        return {**super().own_settings(config), "norm_type": "rms_norm", "use_bias": False}
