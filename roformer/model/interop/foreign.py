"""From a checkpoint of another program to a model of this package."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import logging

from roformer.errors import UserError
from roformer.model.configuration import RoFormerLabConfig
from roformer.model.interop._base import ForeignFormat, own_modules, same_head
from roformer.model.interop.bert import Bert
from roformer.model.interop.folder import open_checkpoint
from roformer.model.interop.keras_hub import KerasHubRoFormerV2
from roformer.model.interop.roformer import StockRoFormer
from roformer.model.interop.roformer_v2 import RoFormerV2

logger = logging.get_logger(__name__)

_FORMATS: tuple[type[ForeignFormat], ...] = (StockRoFormer, RoFormerV2, KerasHubRoFormerV2, Bert)
_BODY = "roformer."  # how our names of its weights begin in a model with a head

Model = TypeVar("Model", bound=PreTrainedModel)


class ForeignCheckpoint:
    """A checkpoint of another program, and what it is here.

    Args:
        source: a folder, a name on the hub (``owner/name@revision``), or a model in memory.

    Attributes:
        settings: of the ``RoFormerLabConfig`` that makes its body.
        new_positions: whether its positions are not kept, so that any may be chosen.

    Raises:
        UserError: if there is none, or this package has no such model.
    """

    def __init__(self, source: str | Path | PreTrainedModel) -> None:
        self._checkpoint = open_checkpoint(source)
        self.where = self._checkpoint.where
        self._format = _format_of(self.where, self._checkpoint.stored)
        self.settings = self._format.settings(self._checkpoint)
        self.new_positions = self._format.new_positions

    @property
    def dtype(self) -> torch.dtype:
        """The type of its weights."""
        return next(weight.dtype for weight in self._checkpoint.weights.values() if weight.is_floating_point())

    def load(self, model_class: type[Model], settings: dict[str, Any]) -> Model:
        """Returns a model with the checkpoint's weights; a head that it lacks is drawn from torch's generator.

        Args:
            model_class: what the model is to be. A head that it does not have is dropped.
            settings: overrides for ``RoFormerLabConfig``.

        Raises:
            UserError: if a weight of the body is missing, or has another shape than the settings give it.
        """
        head, known = model_class.transformers_head, dict(self.settings)
        weights = self._format.translate(self._checkpoint, self.settings)
        if same_head(head, self._checkpoint.head):
            known |= self._format.head_settings(self._checkpoint)
        else:
            weights = {name: weight for name, weight in weights.items() if name.startswith(_BODY)}
        if head == "Model":
            known["add_pooler"] = f"{_BODY}pooler.dense.weight" in weights
            weights = {name.removeprefix(_BODY): weight for name, weight in weights.items()}
        if head == "ForCausalLM":
            known["is_decoder"] = True
        model = model_class(RoFormerLabConfig(**{**known, **settings}))
        self._fill(model, weights, "" if head == "Model" else _BODY)
        return model

    def _fill(self, model: PreTrainedModel, weights: dict[str, Tensor], body: str) -> None:
        """Loads weights into a model whose body has names that begin with ``body``; reports what stays drawn."""
        own = {name: weight.shape for name, weight in model.named_parameters()}  # tied ones once
        position = f"{body}position."
        if model.config.position["name"] != "learned":
            weights = {name: weight for name, weight in weights.items() if not name.startswith(position)}
        fitting = {name for name in own if name in weights and weights[name].shape == own[name]}
        drawn = sorted(own.keys() - fitting)
        free = (f"{body}pooler.", position) if self.new_positions else (f"{body}pooler.",)
        if lost := [name for name in drawn if name.startswith(body) and not name.startswith(free)]:
            has = f"{tuple(weights[lost[0]].shape)} as" if lost[0] in weights else "no"
            raise UserError(
                f"'{self.where}' has {has} weights for {lost[0]}, which needs {tuple(own[lost[0]])}; restore its "
                "config.json"
            )
        model.load_state_dict({name: weights[name] for name in fitting}, strict=False)
        if self.new_positions and f"{position}table.weight" not in fitting:
            logger.warning(
                f"'{self.where}' is a {self._format.name}, whose table of positions is replaced by "
                f"{model.config.position['name']}: train the model on before you use it"
            )
        if heads := own_modules(name for name in drawn if not name.startswith(position)):
            logger.warning(f"'{self.where}' has no weights for {heads}: drawn anew")


def _format_of(where: str, stored: dict[str, Any]) -> type[ForeignFormat]:
    for known in _FORMATS:
        if known.reads(stored):
            return known
    kind = stored.get("model_type")
    ours = " (one of this package: use from_pretrained)" if kind == RoFormerLabConfig.model_type else ""
    names = ", ".join(known.name for known in _FORMATS)
    raise UserError(f"'{where}' holds a model of type '{kind}'{ours}, and none of {names}")
