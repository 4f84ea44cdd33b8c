"""Generated sentences in English and Chinese, for trials of a recipe without data."""

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.random import Generator

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document, Source, Span
from roformer.errors import UserError

_ADJECTIVES = "small 小, old 老, young 年轻, quiet 安静, happy 快乐, tired 疲倦"
_NOUNS = "cat 猫, dog 狗, bird 鸟, child 孩子, teacher 老师, doctor 医生, judge 法官, farmer 农民, driver 司机"
_VERBS = "sees 看见, finds 找到, likes 喜欢, helps 帮助, knows 认识, follows 跟着"
_PLACES = "park 公园, river 河边, school 学校, market 市场, city 城市, mountain 山上"
_WORDS = [
    [tuple(word.split()) for word in words.split(", ")] for words in (_ADJECTIVES, _NOUNS, _VERBS, _NOUNS, _PLACES)
]
_TAGS = {
    name: tag
    for words, tag in ((_NOUNS, "BEING"), (_PLACES, "PLACE"))
    for names in words.split(", ")
    for name in names.split()
}
_TAGGED = re.compile("|".join([*sorted(_TAGS, key=len, reverse=True), r"[a-zA-Z]+|\S"]))
_QUESTIONS = ("Where is the {} {}?", "{}的{}在哪里？")
_SENTENCES = ("The {} {} {} the {} at the {}. ", "{0}的{1}在{4}{2}{3}。")  # English, Chinese


@SOURCES.register("sentences")
class SentencesSource(Source):
    """Sentences of a small grammar. All texts of a document say the same; English and Chinese texts alternate.

    Labels are drawn at random, so there is nothing to learn from them. Spans can be learned.

    Args:
        documents: number of documents.
        sentences: number of sentences in each text.
        texts: number of texts in a document: 2 for pairs, which are translations of each other, and 3 for triplets.
        labels: the labels that occur; none leaves the documents unlabeled.
        spans: labeled parts of the text: ``words`` with tags of those who live (BEING) and of places (PLACE); or
            ``answers``, one or none, to the question where somebody is, which becomes the first of two texts.

    Raises:
        UserError: if a number is below 1, or there are spans and several texts.
    """

    cache_version: ClassVar[int] = 1
    """Raise it when the same settings would yield other documents."""

    def __init__(
        self,
        *,
        documents: int,
        sentences: int,
        texts: int,
        labels: Sequence[str],
        spans: Literal["words", "answers"] | None,
    ) -> None:
        if min(documents, sentences, texts) < 1:
            raise UserError(
                f"data=sentences needs documents, sentences and texts of at least 1, got {documents}, {sentences} and "
                f"{texts}"
            )
        if spans and texts > 1:
            raise UserError(f"data=sentences with data.spans={spans} has one text, got data.texts={texts}")
        self.count, self.sentences, self.texts, self.labels = documents, sentences, texts, labels
        self.spans = spans

    def fingerprint(self) -> str:
        settings = (self.count, self.sentences, self.texts, list(self.labels))
        return content_key("sentences", self.cache_version, *settings, *([self.spans] if self.spans else []))

    def documents(self) -> Iterator[Document]:
        for number in range(self.count):
            rng = np.random.default_rng(number)
            facts = [[words[rng.integers(len(words))] for words in _WORDS] for _ in range(self.sentences)]
            first, *others = (_text(facts, (number * self.texts + place) % 2) for place in range(self.texts))
            label = self.labels[int(rng.integers(len(self.labels)))] if self.labels else None
            if self.spans == "words":
                yield Document(first, label, spans=tuple(_tagged_words(first)))
            elif self.spans == "answers":
                yield _question(facts, first, number % 2, rng)
            else:
                yield Document(first, label, extra_texts=tuple(others))


def _text(facts: Sequence[Sequence[tuple[str, ...]]], language: int) -> str:
    """Returns one sentence per fact, in English (0) or Chinese (1)."""
    sentences = (_SENTENCES[language].format(*(word[language] for word in fact)) for fact in facts)
    return "".join(sentences).strip()


def _tagged_words(text: str) -> Iterator[Span]:
    """Yields the English words and Chinese characters of a text, with tags of IOB2."""
    for match in _TAGGED.finditer(text):
        tag, start = _TAGS.get(match[0]), match.start()
        words = [match[0]] if match[0].isascii() else match[0]
        for number, word in enumerate(words):
            yield Span(start, start + len(word), "O" if tag is None else f"{'I' if number else 'B'}-{tag}")
            start += len(word)


def _question(facts: Sequence[Sequence[tuple[str, ...]]], text: str, language: int, rng: Generator) -> Document:
    """Returns the question where one is of whom a text says it, or, every fourth time, of somebody else."""
    is_said = rng.integers(4) > 0
    adjective, noun, *_, place = facts[int(rng.integers(len(facts)))]
    if not is_said:
        adjective = ("purple", "紫色")
    question = _QUESTIONS[language].format(adjective[language], noun[language])
    of_whom = (f"The {adjective[0]} {noun[0]} ", f"{adjective[1]}的{noun[1]}在")[language]
    spans: tuple[Span, ...] = ()
    if is_said:
        start = text.index(place[language], text.index(of_whom) + len(of_whom))
        spans = (Span(start, start + len(place[language]), "answer"),)
    return Document(question, extra_texts=(text,), spans=spans)
