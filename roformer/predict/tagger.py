"""Entities in texts, by a model of ``task=token_classification``."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from roformer.data.annotations import Place, offsets
from roformer.data.packing import FRAME_TOKENS, cut_documents
from roformer.data.tags import entities
from roformer.data.tokenize import place_encoder
from roformer.data.words import words_of
from roformer.model import RoFormerForTokenClassification
from roformer.predict._base import Document, Predictor
from roformer.tasks.segments import classified_tokens, framed
from roformer.tasks.word_tokens import NO_TOKEN, tokens_of_words, with_continuing, word_tags


class Tagger(Predictor):
    """The entities of each text, as ``data=tagged`` reads them. Of tags of no scheme, such as parts of speech, each
    word is one.

    Words are those of ``roformer.data.words``. The score of an entity is the mean probability of its words' tags.
    """

    model_class = RoFormerForTokenClassification
    formats = ("jsonl",)  # a text has several entities

    def statements(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        texts = [text for (text,) in documents]
        encoded = place_encoder(self.tokenizer)(texts)
        bounds = offsets([len(each.ids) for each in encoded])
        tokens = np.array([token for each in encoded for token in each.ids], dtype=np.int64)
        with torch.inference_mode(), self.autocast:
            tags, probabilities, _ = classified_tokens(
                self.model,
                len(tokens),
                cut_documents(bounds, self.max_length - FRAME_TOKENS),
                lambda segments: framed(tokens, segments, self.tokenizer),
                self.batch_tokens,
            )
        return [
            {"text": text, "entities": self._entities(text, each.places, tags[start:stop], probabilities[start:stop])}
            for text, each, (start, stop) in zip(texts, encoded, pairwise(bounds.tolist()), strict=True)
        ]

    def _entities(
        self, text: str, places: list[Place], tags: NDArray[np.int64], probabilities: NDArray[np.float32]
    ) -> list[dict[str, Any]]:
        """Returns the entities that the tags of a text's tokens mean."""
        words = np.array(words_of(text, 0, len(text)), dtype=np.int64).reshape(-1, 2)
        first = tokens_of_words(np.array(places, dtype=np.int64).reshape(-1, 2), words)[:, 0]
        words, first = words[first != NO_TOKEN], first[first != NO_TOKEN]
        names = with_continuing(self.export.names)
        found = []
        for begin, after, kind in entities([names[tag] for tag in word_tags(tags, first, names)]):
            start, end = int(words[begin, 0]), int(words[after - 1, 1])
            score = float(probabilities[first[begin:after]].mean())
            found.append({"label": kind, "start": start, "end": end, "text": text[start:end], "score": score})
        return found
