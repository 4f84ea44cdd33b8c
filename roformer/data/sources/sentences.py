"""Generated sentences in English and Chinese, for trials of a recipe without data."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document, Source
from roformer.errors import UserError

_ADJECTIVES = "small 小, old 老, young 年轻, quiet 安静, happy 快乐, tired 疲倦"
_NOUNS = "cat 猫, dog 狗, bird 鸟, child 孩子, teacher 老师, doctor 医生, judge 法官, farmer 农民, driver 司机"
_VERBS = "sees 看见, finds 找到, likes 喜欢, helps 帮助, knows 认识, follows 跟着"
_PLACES = "park 公园, river 河边, school 学校, market 市场, city 城市, mountain 山上"
_WORDS = [
    [tuple(word.split()) for word in words.split(", ")] for words in (_ADJECTIVES, _NOUNS, _VERBS, _NOUNS, _PLACES)
]
_SENTENCES = ("The {} {} {} the {} at the {}. ", "{0}的{1}在{4}{2}{3}。")  # English, Chinese


@SOURCES.register("sentences")
class SentencesSource(Source):
    """Sentences of a small grammar. All texts of a document say the same; English and Chinese texts alternate.

    Labels are drawn at random, so there is nothing to learn from them.

    Args:
        documents: number of documents.
        sentences: number of sentences in each text.
        texts: number of texts in a document: 2 for pairs, which are translations of each other, and 3 for triplets.
        labels: the labels that occur; none leaves the documents unlabeled.

    Raises:
        UserError: if a number is below 1.
    """

    cache_version: ClassVar[int] = 1
    """Raise it when the same settings would yield other documents."""

    def __init__(self, *, documents: int, sentences: int, texts: int, labels: Sequence[str]) -> None:
        if min(documents, sentences, texts) < 1:
            raise UserError(
                f"data=sentences needs documents, sentences and texts of at least 1, got {documents}, {sentences} and "
                f"{texts}"
            )
        self.count, self.sentences, self.texts, self.labels = documents, sentences, texts, labels

    def fingerprint(self) -> str:
        settings = (self.count, self.sentences, self.texts, list(self.labels))
        return content_key("sentences", self.cache_version, *settings)

    def documents(self) -> Iterator[Document]:
        for number in range(self.count):
            rng = np.random.default_rng(number)
            facts = [[words[rng.integers(len(words))] for words in _WORDS] for _ in range(self.sentences)]
            first, *others = (_text(facts, (number * self.texts + place) % 2) for place in range(self.texts))
            label = self.labels[int(rng.integers(len(self.labels)))] if self.labels else None
            yield Document(first, label, extra_texts=tuple(others))


def _text(facts: Sequence[Sequence[tuple[str, ...]]], language: int) -> str:
    """Returns one sentence per fact, in English (0) or Chinese (1)."""
    sentences = (_SENTENCES[language].format(*(word[language] for word in fact)) for fact in facts)
    return "".join(sentences).strip()
