"""Which predictor a model has."""

from roformer.errors import UserError
from roformer.predict._base import Predictor
from roformer.predict.answerer import Answerer
from roformer.predict.export import Export
from roformer.predict.scorer import Classifier
from roformer.predict.tagger import Tagger

PREDICTORS: dict[str, type[Predictor]] = {each.model_class.__name__: each for each in (Classifier, Tagger, Answerer)}
"""By the name of the model's class."""


def predictor_of(export: Export) -> type[Predictor]:
    """Returns the predictor of an export.

    Raises:
        UserError: if the model has no head that was fine-tuned for a prediction.
    """
    if export.architecture not in PREDICTORS:
        raise UserError(
            f"{export.folder} is {export.architecture}, which predicts no labels; fine-tune it first "
            f"(task=classification init_from={export.folder}), or give --encode"
        )
    return PREDICTORS[export.architecture]
