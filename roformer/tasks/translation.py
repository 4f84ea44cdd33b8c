"""Machine translation (RoFormer paper, section 4.1; Vaswani et al. 2017)."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from roformer.data.collators import IntArray, split_texts
from roformer.data.sampler import batches_by_length
from roformer.data.token_store import TokenizedCorpus
from roformer.errors import UserError
from roformer.model import RoFormerForConditionalGeneration
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.tasks._base import TASKS, Batch, Task
from roformer.tasks.language_modeling import score_batches

BEAMS, LENGTH_PENALTY = 4, 0.6  # of beam search, section 4.1 of the paper
_MAX_EXTRA = 50  # tokens by which a translation may exceed its source, as in Vaswani et al., section 6.1


@TASKS.register("translation")
class Translation(Task):
    """Predicts the target text of each pair.

    A batch holds pairs of similar length, at most ``trainer.batch_size`` tokens of their longer side with padding.

    Args:
        max_length: maximum number of tokens in a source or target, [SEP] included; training skips longer pairs,
            evaluation truncates them.
        label_smoothing: probability mass that training distributes over the whole vocabulary.

    Raises:
        UserError: if documents are not pairs, or all of them are too long.
    """

    title, unit, family = "Translation", "target token", "translation"
    model_class = RoFormerForConditionalGeneration
    architecture: ClassVar[dict[str, Any]] = {"is_encoder_decoder": True}
    prompt_template = "$A {sep}"
    best_metric = "validation_loss"
    greater_is_better = False

    def __init__(
        self,
        corpus: TokenizedCorpus,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        *,
        max_length: int,
        label_smoothing: float,
    ) -> None:
        super().__init__(corpus, tokenizer, seed)
        if corpus.texts != 2:
            raise UserError(
                "translation needs documents of two texts: data=parallel with data.source and data.target, or a "
                "data.text_column with two names"
            )
        self.max_tokens = self.max_length = max_length
        self.label_smoothing = label_smoothing
        self.pairs = {name: self._lengths(name) for name in corpus.splits}
        """Numbers of tokens of source and target, [SEP] included: (documents, 2)."""
        self.trained = np.flatnonzero(self.pairs["train"].max(axis=1) <= max_length)
        if not len(self.trained):
            raise UserError(f"every pair is longer than task.max_length={max_length} tokens; raise it")
        self.rows = len(self.trained)
        self._bounds = lru_cache(maxsize=4)(self._find_bounds)
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def _lengths(self, split: str) -> NDArray[np.int64]:
        documents = self.corpus.splits[split]
        ends = np.flatnonzero(documents.tokens == self.tokenizer.sep_token_id)
        sources = ends - documents.offsets[:-1] + 1
        return np.stack((sources, np.diff(documents.offsets) - sources + 1), axis=1)

    def summary(self) -> str:
        longer = len(self.pairs["train"]) - self.rows
        skipped = f"; skipping {longer:,} of train, longer than task.max_length={self.max_length} tokens"
        return super().summary() + (skipped if longer else "")

    def model_settings(self) -> dict[str, Any]:
        begin, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        tokens = {"bos_token_id": begin, "decoder_start_token_id": begin, "eos_token_id": end}
        return {"label_smoothing": self.label_smoothing, **tokens}

    def steps_per_epoch(self, batch_size: int) -> float:
        return len(self._bounds(batch_size)) - 1

    def _find_bounds(self, batch_size: int) -> NDArray[np.int64]:
        """Returns the boundaries of batches in the pairs sorted by length, for any order of ties.

        Raises:
            UserError: if a pair does not fit in a batch.
        """
        longest = self.pairs["train"][self.trained].max(axis=1)
        if longest.max() > batch_size:
            raise UserError(
                f"trainer.batch_size={batch_size} tokens is too small for a pair of {longest.max()}; raise it, or "
                "lower task.max_length"
            )
        bounds, widest = [0], np.zeros(2, dtype=np.int64)
        ordered = self.pairs["train"][self.trained][self._by_length(np.arange(self.rows))]
        for place, pair in enumerate(ordered):
            wider = np.maximum(widest, pair)
            if wider.max() * (place + 1 - bounds[-1]) > batch_size:
                bounds.append(place)
                wider = pair
            widest = wider
        return np.array([*bounds, self.rows])

    def _by_length(self, ties: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the indices of the trained pairs by increasing length; ``ties`` orders pairs of equal length."""
        sources, targets = self.pairs["train"][self.trained].T
        return np.lexsort((ties, targets, sources))

    def _draw_epoch(self, epoch: int, batch_size: int) -> list[NDArray[np.int64]]:
        """Returns the documents of each batch of an epoch; ties in length and the order of batches are random."""
        rng = np.random.default_rng([self.seed, epoch])
        ordered = self.trained[self._by_length(rng.permutation(self.rows))]
        batches = np.split(ordered, self._bounds(batch_size)[1:-1])
        return [batches[place] for place in rng.permutation(len(batches))]

    def batch_row_numbers(self, step: int, batch_size: int) -> list[int]:
        epoch, place = divmod(step, len(self._bounds(batch_size)) - 1)
        return list(map(int, self._epoch(epoch, batch_size)[place]))

    def num_items(self, step: int, batch_size: int) -> int:
        return int(self.pairs["train"][self.batch_row_numbers(step, batch_size), 1].sum())

    def batch(self, step: int, batch_size: int, *, share: int, shares: int) -> Batch:
        documents = self.batch_row_numbers(step, batch_size)
        if own := documents[share::shares]:
            return self.collate("train", own)
        nothing = self.collate("train", documents[:1])  # fewer pairs than shares: nothing to predict
        nothing.inputs["labels"].fill_(IGNORE_INDEX)
        return Batch(nothing.inputs, 0)

    def collate(self, split: str, documents: Sequence[int]) -> Batch:
        """Pads sources and targets, each to their longest."""
        pairs = [self.pair(split, index) for index in documents]
        input_ids, mask = self._padded([source for source, _ in pairs])
        labels = pad_sequence([torch.from_numpy(target) for _, target in pairs], True, IGNORE_INDEX)
        tokens = int(mask.sum()) + int((labels != IGNORE_INDEX).sum())
        inputs = {"input_ids": input_ids, "labels": labels, "sparse_prediction": True}
        if not mask.all():
            inputs["attention_mask"] = mask
        return Batch(inputs, tokens)

    def pair(self, split: str, index: int) -> tuple[IntArray, IntArray]:
        """Returns the tokens of source and target, both ending with [SEP]."""
        end = [self.tokenizer.sep_token_id]
        source, target = split_texts(self.corpus.splits[split].document(index), self.tokenizer)
        cut = self.max_length - 1
        return tuple(np.concatenate((text[:cut], end)).astype(np.int64) for text in (source, target))  # type: ignore

    def _padded(self, texts: Sequence[IntArray]) -> tuple[Tensor, Tensor]:
        """Returns (B, S) token ids and their attention mask."""
        lengths = torch.tensor([len(text) for text in texts])
        padded = pad_sequence([torch.from_numpy(text) for text in texts], True, self.tokenizer.pad_token_id)
        return padded, (torch.arange(padded.shape[1]) < lengths[:, None]).long()

    def by_length(self, split: str, batch_tokens: int, sides: slice = slice(2)) -> list[list[int]]:
        """Returns the documents of a split in batches of at most ``batch_tokens`` padded tokens on the longer side."""
        lengths = np.minimum(self.pairs[split][:, sides].max(axis=1), self.max_length)
        return batches_by_length(lengths, batch_tokens, padded=True)

    def evaluate(self, model: nn.Module, split: str, batch_tokens: int = 4096) -> dict[str, float]:
        """Returns the loss without label smoothing (nats per target token) and the token accuracy."""
        batches = (self.collate(split, documents) for documents in self.by_length(split, batch_tokens))
        loss, accuracy, _ = score_batches(model, batches)
        return {f"{split}_loss": loss, f"{split}_accuracy": accuracy}

    @torch.no_grad()
    def translate(
        self,
        model: RoFormerForConditionalGeneration,
        split: str,
        *,
        num_beams: int,
        length_penalty: float,
        batch_tokens: int = 4096,
    ) -> list[str]:
        """Returns the translation of each document of a split."""
        device, translations = model.device, [""] * len(self.corpus.splits[split])
        table = model.decoder.position.traits.max_length or math.inf  # number of positions, if limited
        sources = slice(1)  # batches must not depend on the references
        for documents in self.by_length(split, max(1, batch_tokens // num_beams), sources):
            input_ids, mask = self._padded([self.pair(split, index)[0] for index in documents])
            tokens = model.generate(
                input_ids.to(device),
                attention_mask=mask.to(device),
                num_beams=num_beams,
                length_penalty=length_penalty,
                max_length=min(1 + input_ids.shape[1] + _MAX_EXTRA, table),
                do_sample=False,
            )
            texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
            for index, text in zip(documents, texts, strict=True):
                translations[index] = text.strip()
        return translations
