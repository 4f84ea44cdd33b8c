"""Masked language modeling on packed documents (Devlin et al. 2019; RoFormer paper, section 4.2)."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import IntArray, TokenMasker
from roformer.data.preprocess import TokenizedCorpus
from roformer.errors import UserError
from roformer.model import RoFormerForMaskedLM
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.tasks._base import TASKS
from roformer.tasks.language_modeling import LanguageModeling, Piece


@TASKS.register("mlm")
class MaskedLanguageModeling(LanguageModeling):
    """Predicts 15 % of the tokens from the rest.

    Args:
        sequence_length, max_eval_rows: as in ``LanguageModeling``.
        mask_probability: share of the ordinary tokens to predict.

    Raises:
        UserError: if the probability is not in (0, 1), no row is to be evaluated, or a split is too small.
    """

    model_class = RoFormerForMaskedLM
    model_kind: ClassVar[dict[str, Any]] = {"is_decoder": False}
    unit = "masked token"
    sees_both_sides = True

    def __init__(
        self,
        corpus: TokenizedCorpus,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        *,
        sequence_length: int,
        mask_probability: float,
        max_eval_rows: int,
    ) -> None:
        super().__init__(corpus, tokenizer, seed, sequence_length=sequence_length, max_eval_rows=max_eval_rows)
        if not 0 < mask_probability < 1:
            raise UserError(f"task.mask_probability must lie between 0 and 1, got {mask_probability}")
        self.masker = TokenMasker(tokenizer, mask_probability=mask_probability)

    def count(self, spans: NDArray[np.int64]) -> int:
        return self.masker.count(int(np.diff(spans).sum()))

    def label(self, original: IntArray, rng: np.random.Generator) -> Piece:
        """Masks (length,) tokens: returns them as the model sees them, and those to predict."""
        original = original.astype(np.int64)
        chosen = self.masker.choose(len(original), rng)
        visible, labels = original.copy(), np.full_like(original, IGNORE_INDEX)
        visible[chosen] = self.masker.corrupt(original[chosen], rng)
        labels[chosen] = original[chosen]
        return visible, labels

    def frame(self, visible: IntArray, labels: IntArray, *, ends: bool = False) -> Piece:
        """Puts [CLS] and [SEP], which are not predicted, around a piece: (length,) -> (length + 2,)."""
        inside = np.concatenate(([self.tokenizer.cls_token_id], visible, [self.tokenizer.sep_token_id]))
        return inside, np.concatenate(([IGNORE_INDEX], labels, [IGNORE_INDEX]))
