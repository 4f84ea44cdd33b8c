"""Masked language modeling on packed documents (Devlin et al. 2019; RoFormer paper, section 4.2)."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import IntArray, TokenMasker
from roformer.data.packing import FRAME_TOKENS
from roformer.data.token_store import TokenizedCorpus
from roformer.errors import UserError
from roformer.model import RoFormerForMaskedLM
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.tasks._base import TASKS
from roformer.tasks.language_modeling import LanguageModeling, Segment


@TASKS.register("mlm")
class MaskedLanguageModeling(LanguageModeling):
    """Predicts randomly masked tokens from the rest of their segment.

    Args:
        sequence_length, max_eval_rows: as in ``LanguageModeling``.
        mask_probability: fraction of ordinary tokens to predict, in (0, 1).

    Raises:
        UserError: if the probability is out of range, or as in ``LanguageModeling``.
    """

    title, unit = "MLM", "masked token"
    model_class = RoFormerForMaskedLM
    architecture: ClassVar[dict[str, Any]] = {"is_decoder": False}
    is_bidirectional = True

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

    def num_targets(self, spans: NDArray[np.int64]) -> int:
        return self.masker.num_targets(int(np.diff(spans).sum()))

    @property
    def max_targets(self) -> int:
        return self.masker.num_targets(self.sequence_length - FRAME_TOKENS)

    def make_labels(self, original: IntArray, rng: np.random.Generator) -> Segment:
        """Returns (length,) tokens with some of them masked, and the original tokens there as labels."""
        original = original.astype(np.int64)
        chosen = self.masker.choose(len(original), rng)
        visible, labels = original.copy(), np.full_like(original, IGNORE_INDEX)
        visible[chosen] = self.masker.corrupt(original[chosen], rng)
        labels[chosen] = original[chosen]
        return visible, labels

    def add_special_tokens(self, visible: IntArray, labels: IntArray, *, closes_document: bool = False) -> Segment:
        """Adds [CLS] and [SEP], which are not predicted: (length,) -> (length + 2,)."""
        inside = np.concatenate(([self.tokenizer.cls_token_id], visible, [self.tokenizer.sep_token_id]))
        return inside, np.concatenate(([IGNORE_INDEX], labels, [IGNORE_INDEX]))
