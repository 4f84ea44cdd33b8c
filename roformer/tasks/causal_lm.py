"""Causal language modeling on packed documents: predicts each token from those before it in its segment."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from roformer.data.collators import IntArray
from roformer.model import RoFormerForCausalLM
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.tasks._base import TASKS
from roformer.tasks.language_modeling import LanguageModeling, Segment


@TASKS.register("causal_lm")
class CausalLanguageModeling(LanguageModeling):
    """Predicts every token, and [SEP] at the end of a document; every segment starts with [CLS].

    Args:
        sequence_length, max_eval_rows: as in ``LanguageModeling``.

    Raises:
        UserError: as ``LanguageModeling`` does.
    """

    title, unit = "Causal LM", "token"
    model_class = RoFormerForCausalLM
    architecture: ClassVar[dict[str, Any]] = {"is_decoder": True}
    prompt_template = "{cls} $A"  # without [SEP], which would end the document
    padding_side = "left"
    is_bidirectional = False

    def model_settings(self) -> dict[str, Any]:
        begin, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        return {"bos_token_id": begin, "eos_token_id": end}

    def num_targets(self, spans: NDArray[np.int64]) -> int:
        return int(np.diff(spans).sum()) + sum(self.closes_document("train", spans))

    @property
    def max_targets(self) -> int:
        return self.sequence_length - 1

    def make_labels(self, original: IntArray, rng: np.random.Generator) -> Segment:
        """Returns the tokens as inputs and as labels; draws nothing."""
        tokens = original.astype(np.int64)
        return tokens, tokens

    def add_special_tokens(self, visible: IntArray, labels: IntArray, *, closes_document: bool = False) -> Segment:
        """Adds [CLS], and after the last segment of a document [SEP], which is predicted."""
        end = np.full(int(closes_document), self.tokenizer.sep_token_id)
        input_ids = np.concatenate(([self.tokenizer.cls_token_id], visible, end))
        return input_ids, np.concatenate(([IGNORE_INDEX], labels, end))
