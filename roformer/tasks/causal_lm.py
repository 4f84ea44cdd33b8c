"""Causal language modeling on packed documents: each token from those before it in its row."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from roformer.data.collators import IntArray
from roformer.model import RoFormerForCausalLM
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.tasks._base import TASKS
from roformer.tasks.language_modeling import LanguageModeling, Piece


@TASKS.register("causal_lm")
class CausalLanguageModeling(LanguageModeling):
    """Predicts every token, and where a document ends [SEP]; [CLS] begins every piece."""

    model_class = RoFormerForCausalLM
    model_kind: ClassVar[dict[str, Any]] = {"is_decoder": True}
    text_frame = "{cls} $A"  # a prompt, which goes on
    padding_side = "left"
    unit = "token"
    sees_both_sides = False

    def model_settings(self) -> dict[str, Any]:
        begin, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        return {"bos_token_id": begin, "eos_token_id": end}

    def count(self, spans: NDArray[np.int64]) -> int:
        return int(np.diff(spans).sum()) + sum(self.ends("train", spans))

    def label(self, original: IntArray, rng: np.random.Generator) -> Piece:
        """Returns the tokens, and the same as labels: nothing is drawn."""
        tokens = original.astype(np.int64)
        return tokens, tokens

    def frame(self, visible: IntArray, labels: IntArray, *, ends: bool = False) -> Piece:
        """Puts [CLS] before a piece, and [SEP], which is predicted, after the last one of a document."""
        end = np.full(int(ends), self.tokenizer.sep_token_id)
        return np.concatenate(([self.tokenizer.cls_token_id], visible, end)), np.concatenate(
            ([IGNORE_INDEX], labels, end)
        )
