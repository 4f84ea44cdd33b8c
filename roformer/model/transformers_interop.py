"""Reading and writing other programs' checkpoints, for every model; the formats are in ``roformer.model.interop``."""

from pathlib import Path
from typing import Any, ClassVar

from transformers import PreTrainedModel

from roformer.errors import UserError
from roformer.model.interop import ForeignCheckpoint, Model, to_transformers  # package only


class TransformersInterop:
    """Reading and writing other programs' checkpoints, for every model of this package.

    Attributes:
        transformers_head: transformers' name of the model without that of its architecture, such as ``ForMaskedLM``;
            None where it has no such RoFormer.
    """

    transformers_head: ClassVar[str | None] = None

    @classmethod
    def from_transformers(  # package only
        cls: type[Model], path_or_model: str | Path | PreTrainedModel, **settings: Any
    ) -> Model:
        """Reads a RoFormer, RoFormerV2 or BERT: of transformers, the package ``roformer``, TensorFlow or
        keras-hub.

        Any head may be read. One that this model does not have is dropped; one that the checkpoint lacks is drawn
        anew, and a line says so. From files, the model comes in evaluation mode and in the type of its weights; from
        memory, in the mode, in the type and on the device of the other.

        Args:
            path_or_model: a folder, a name on the hub (``owner/name`` or ``owner/name@revision``), or a model.
            settings: overrides for ``RoFormerLabConfig``, such as ``attention_backend="eager"``.

        Raises:
            UserError: if it is none of these, weights of its body are missing, or this package has no such model.
        """
        if cls.transformers_head is None:
            raise UserError(f"{cls.__name__} has no counterpart in transformers' RoFormer")
        checkpoint = ForeignCheckpoint(path_or_model)
        model = checkpoint.load(cls, settings)
        if isinstance(path_or_model, PreTrainedModel):
            return model.to(path_or_model.device, path_or_model.dtype).train(path_or_model.training)
        return model.to(checkpoint.dtype).eval()

    def to_transformers(self: Model) -> PreTrainedModel:  # package only
        """Returns transformers' model with the same head and weights, for up to ``max_position_embeddings`` tokens.

        That is its RoFormer, or its BERT where positions are learned or sinusoidal.

        Raises:
            UserError: if it has no such model: its RoFormer has rope only, interleaved, with rope_theta 10000 on all
                channels; layer norms and biases, no pooler; and it classifies by the first token.
        """
        head = self.transformers_head
        if head is None:
            raise UserError(f"{type(self).__name__} has no counterpart in transformers' RoFormer")
        body = "roformer." if head == "Model" else ""
        weights = {f"{body}{name}": weight for name, weight in self.state_dict().items()}
        return to_transformers(self.config, weights, head).to(self.device, self.dtype).train(self.training)
