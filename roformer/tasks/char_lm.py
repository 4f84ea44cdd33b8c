"""Causal language modeling of bytes, in bits a byte (section 4.4 of the RoFormer paper, on Enwik8)."""

import math

from torch import nn
from transformers import PreTrainedTokenizerFast

from roformer.data.preprocess import TokenizedCorpus
from roformer.errors import UserError
from roformer.tasks._base import TASKS
from roformer.tasks.causal_lm import CausalLanguageModeling
from roformer.tokenizer.bytes import spells_bytes


@TASKS.register("char_lm")
class CharacterLanguageModeling(CausalLanguageModeling):
    """As ``causal_lm``, with a token for each byte.

    Args:
        sequence_length, max_eval_rows: as in ``LanguageModeling``.

    Raises:
        UserError: if the tokenizer has other tokens than bytes.
    """

    unit = "byte"

    def __init__(
        self,
        corpus: TokenizedCorpus,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        *,
        sequence_length: int,
        max_eval_rows: int,
    ) -> None:
        super().__init__(corpus, tokenizer, seed, sequence_length=sequence_length, max_eval_rows=max_eval_rows)
        if not spells_bytes(tokenizer):
            raise UserError("task=char_lm counts bits a byte and needs tokenizer=bytes; for others task=causal_lm")

    def evaluate(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> dict[str, float]:
        """Returns also the bits a byte; of text in ASCII, and of Enwik8 as it is measured, bits a character."""
        metrics = super().evaluate(model, split, batch_tokens)
        return {**metrics, f"{split}_bits_per_byte": metrics[f"{split}_loss"] / math.log(2)}
