"""Language modeling from right to left."""

import numpy as np

from roformer.data.collators import IntArray
from roformer.tasks._base import TASKS
from roformer.tasks.causal_lm import CausalLanguageModeling
from roformer.tasks.language_modeling import Segment


@TASKS.register("toy_lm")
class BackwardLanguageModeling(CausalLanguageModeling):
    """As ``causal_lm``, on texts that are read backwards.

    Args:
        sequence_length, max_eval_rows: as in ``LanguageModeling``.

    Raises:
        UserError: as ``LanguageModeling`` does.
    """

    title, unit = "Backward LM", "token"

    def make_labels(self, original: IntArray, rng: np.random.Generator) -> Segment:
        tokens = original[::-1].astype(np.int64)
        return tokens, tokens
