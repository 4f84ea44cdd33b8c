"""Token classification: the tag of each word, such as named entities or parts of speech (CoNLL-2003)."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerFast

from roformer.data.annotations import Annotations
from roformer.data.packing import FRAME_TOKENS, cut_documents
from roformer.data.tags import Entity, entities
from roformer.data.token_store import TokenizedCorpus, TokenizedSplit
from roformer.errors import UserError
from roformer.model import RoFormerForTokenClassification
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.tasks._base import TASKS, Batch, Task
from roformer.tasks.segments import classified_tokens, framed, longest_first
from roformer.tasks.word_tokens import NO_TOKEN, token_labels, tokens_of_words, with_continuing, word_tags


@TASKS.register("token_classification")
class TokenClassification(Task):
    """Predicts the tag of each word at its first token. Its other tokens learn the tag that continues it, so that tags
    of tokens, as transformers' pipelines read them, have no gaps.

    Scores are about the words of the data, whatever the tokenizer makes of them. Where a token covers several words,
    as in Chinese text that is tagged by character, its label is the tag of the first of them in an entity. Its
    prediction is the tag of its first word, and is continued in the others. So every entity of the data counts; one
    that begins or ends within a token is missed.

    Args:
        max_length: maximum number of tokens in a segment, special tokens included; longer documents are cut.
        classifier_dropout: dropout before the head.

    Raises:
        UserError: if the data has no tagged words, or fewer than two tags, or a tag is not in the train split, nor
            continues one that is.
    """

    title, unit, family = "Token classification", "word", "downstream"
    model_class = RoFormerForTokenClassification
    best_metric = "validation_f1"
    greater_is_better = True

    def __init__(
        self,
        corpus: TokenizedCorpus,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        *,
        max_length: int,
        classifier_dropout: float,
    ) -> None:
        super().__init__(corpus, tokenizer, seed)
        self.check({"max_length": max_length})
        self.max_tokens = self.max_length = max_length
        self.classifier_dropout = classifier_dropout
        if corpus.texts != 1 or len(corpus.tags) < 2:
            raise UserError(
                "task=token_classification needs tagged words with two tags or more: data=tagged with data.path"
            )
        self.tags = with_continuing(corpus.tags)
        self.words = {name: split.annotations for name, split in corpus.splits.items() if split.annotations}
        self.word_tokens = {name: _word_tokens(split) for name, split in corpus.splits.items()}
        self._check_tags()
        self.token_labels = {
            name: token_labels(len(split.tokens), self.word_tokens[name], self.answers(name), self.tags)
            for name, split in corpus.splits.items()
        }
        self.segments = {
            name: cut_documents(split.offsets, max_length - FRAME_TOKENS) for name, split in corpus.splits.items()
        }
        self.rows = len(self.segments["train"])

    def _check_tags(self) -> None:
        names = self.corpus.tags
        used = {split: {names[tag] for tag in set(self.answers(split).tolist())} for split in self.corpus.splits}
        for split, of_split in used.items():
            if unknown := of_split - set(with_continuing(sorted(used["train"]))):
                raise UserError(
                    f"tag '{min(unknown)}' of the {split} split is not in the train split (tags there: "
                    f"{', '.join(sorted(used['train']))}); change the data or its split"
                )

    def answers(self, split: str) -> NDArray[np.int64]:
        """Returns the (words,) tags of a split as indices into the corpus's ``tags``."""
        return self.words[split].spans[:, 2]

    def model_settings(self) -> dict[str, Any]:
        tags = self.tags
        return {
            "id2label": dict(enumerate(tags)),
            "label2id": {tag: number for number, tag in enumerate(tags)},
            "classifier_dropout": self.classifier_dropout,
        }

    def summary(self) -> str:
        right = self.word_tags("validation", self.token_labels["validation"])
        possible, total = (int(each.sum()) for each in self.found_entities("validation", right))
        if possible == total:
            return super().summary()
        return (
            f"{super().summary()}\nwarning: {total - possible:,} of {total:,} entities of the validation split begin "
            "or end within a token, and count as missed; a tokenizer with shorter tokens finds them"
        )

    def num_items(self, step: int, batch_size: int) -> int:
        labels, segments = self.token_labels["train"], self.segments["train"]
        spans = (segments[row] for row in self.batch_row_numbers(step, batch_size))
        return max(1, sum(int((labels[start:stop] != IGNORE_INDEX).sum()) for start, stop in spans))

    def batch(self, step: int, batch_size: int, *, share: int, shares: int) -> Batch:
        chosen = self.batch_row_numbers(step, batch_size)[share::shares]
        inputs = self._collate("train", longest_first(self.segments["train"], chosen))
        return Batch(inputs, inputs["input_ids"].shape[1])

    def _collate(self, split: str, segments: NDArray[np.int64]) -> dict[str, Any]:
        inputs = framed(self.corpus.splits[split].tokens, segments, self.tokenizer)
        none = [IGNORE_INDEX]
        parts = [part for start, stop in segments for part in (none, self.token_labels[split][start:stop], none)]
        return {**inputs, "labels": torch.from_numpy(np.concatenate(parts))[None]}

    def predict(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> tuple[NDArray[np.int64], float]:
        """Returns the (words,) predicted tags of a split, and the mean loss per label in nats."""
        labels = self.token_labels[split]
        items = max(1, int((labels != IGNORE_INDEX).sum()))
        found, _, loss = classified_tokens(
            model,
            len(labels),
            self.segments[split],
            lambda segments: {**self._collate(split, segments), "num_items_in_batch": items},
            batch_tokens,
        )
        return self.word_tags(split, found), loss

    def word_tags(self, split: str, token_tags: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the (words,) tags that the tags of a split's tokens mean."""
        first = self.word_tokens[split][:, 0]
        found = word_tags(token_tags, first, self.tags)
        found[first == NO_TOKEN] = self.most_frequent
        return found

    @property
    def most_frequent(self) -> int:
        """The tag that most training words have."""
        return int(np.bincount(self.answers("train")).argmax())

    def entities_of(self, split: str, word_tags: NDArray[np.int64]) -> list[set[Entity]]:
        """Returns the entities of each document of a split."""
        names, bounds = np.array(self.tags), self.words[split].span_offsets.tolist()
        return [set(entities(names[word_tags[start:stop]].tolist())) for start, stop in pairwise(bounds)]

    def found_entities(self, split: str, word_tags: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the (documents,) numbers of entities that (words,) tags have right, and of all entities."""
        answers, found = self.entities_of(split, self.answers(split)), self.entities_of(split, word_tags)
        right = [len(ours & theirs) for ours, theirs in zip(answers, found, strict=True)]
        return np.array(right), np.array([len(each) for each in answers])

    def scores(self, split: str, predictions: NDArray[np.int64]) -> dict[str, float]:
        """Returns precision, recall and F1 of entities that are right in kind, start and end, as in CoNLL-2003, and
        the accuracy of (words,) tags. A tag of no scheme, such as a part of speech, is an entity of one word."""
        right, total = (int(each.sum()) for each in self.found_entities(split, predictions))
        predicted = sum(map(len, self.entities_of(split, predictions)))
        return {
            "f1": 2 * right / max(1, total + predicted),
            "precision": right / max(1, predicted),
            "recall": right / max(1, total),
            "accuracy": float((self.answers(split) == predictions).mean()),
        }

    def evaluate(self, model: nn.Module, split: str, batch_tokens: int = 8192) -> dict[str, float]:
        """Returns the loss (nats per label) and the ``scores`` of a split."""
        predictions, loss = self.predict(model, split, batch_tokens)
        scores = self.scores(split, predictions)
        return {f"{split}_loss": loss, **{f"{split}_{name}": score for name, score in scores.items()}}


def _word_tokens(split: TokenizedSplit) -> NDArray[np.int64]:
    """Returns the (words, 2) numbers in the split of the tokens of each word, as ``tokens_of_words`` does."""
    words: Annotations | None = split.annotations
    assert words is not None
    found = [np.zeros((0, 2), dtype=np.int64)]
    for number, (start, stop) in enumerate(pairwise(split.offsets.tolist())):
        tokens = tokens_of_words(words.places[start:stop], words.spans_of(number)[:, :2])
        found.append(np.where(tokens == NO_TOKEN, NO_TOKEN, start + tokens))
    return np.concatenate(found)
