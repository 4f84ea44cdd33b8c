"""Byte-level causal language modeling, in bits per byte (RoFormer paper, section 4.4, on Enwik8)."""

import math

from torch import nn
from transformers import PreTrainedTokenizerFast

from roformer.data.token_store import TokenizedCorpus
from roformer.errors import UserError
from roformer.tasks._base import TASKS
from roformer.tasks.causal_lm import CausalLanguageModeling
from roformer.tokenizer.bytes import is_byte_level


@TASKS.register("char_lm")
class CharacterLanguageModeling(CausalLanguageModeling):
    """``causal_lm`` with one token per byte.

    Args:
        sequence_length, max_eval_rows: as in ``LanguageModeling``.

    Raises:
        UserError: if a token is not a byte, or as in ``LanguageModeling``.
    """

    title, unit = "Byte-level LM", "byte"

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
        if not is_byte_level(tokenizer):
            raise UserError("task=char_lm measures bits per byte and needs tokenizer=bytes (or use task=causal_lm)")

    def evaluate(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> dict[str, float]:
        """Also returns bits per byte, which the literature on Enwik8 calls bits per character."""
        metrics = super().evaluate(model, split, batch_tokens)
        return {**metrics, f"{split}_bits_per_byte": metrics[f"{split}_loss"] / math.log(2)}
