"""Your own questions about texts: SQuAD's JSON (Rajpurkar et al. 2016, arXiv:1606.05250; 2018, arXiv:1806.03822), or
one question per row."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document, Span
from roformer.data.sources._columns import cell_text
from roformer.data.sources._local_files import Kinds, find_files, local_files_key
from roformer.data.sources._local_source import LocalSource
from roformer.data.sources._opening import TextFormat, open_text, suffix_of
from roformer.errors import UserError

CACHE_VERSION = 1  # raise it when the same files would yield other documents
QUESTION_COLUMNS = ("question", "context")
_KINDS = Kinds((".json", ".jsonl", ".ndjson", ".parquet", ".arrow"), ())


@SOURCES.register("questions")
class QuestionsSource(LocalSource):
    """One document per question: the question, the context, and where the answers lie in it. All questions about a
    context fall into the same split.

    SQuAD's JSON is read, version 1.1 or 2.0, whose unanswerable questions have no answer; and tables with
    ``question``, ``context`` and ``answers``: an object with ``text`` and ``answer_start``, which may be lists as on
    the hub, or a list of such objects.

    Args:
        path: a file, a folder, a pattern, or a list of them.
        encoding: as in ``TextFormat``.

    Raises:
        UserError: if there is no supported file; on reading, if an answer is not where its context should have it.
    """

    def __init__(self, *, path: str | list[str], encoding: str | None) -> None:
        self.path, self.form, self.corpus = path, TextFormat(encoding), find_files(path, _KINDS)
        self.files = self.corpus.files

    def fingerprint(self) -> str:
        return content_key("questions", CACHE_VERSION, local_files_key(self.files), self.form.key())

    def documents(self) -> Iterator[Document]:
        empty = True
        for file in self.files:
            for number, row in enumerate(
                squad(file.path, self.form) or file.rows((*QUESTION_COLUMNS, "answers"), self.form), 1
            ):
                where = f"{file.path}, question {number}"
                question, context = (cell_text(row[key], f"{where}, '{key}'") for key in QUESTION_COLUMNS)
                if question is None or context is None:
                    self.skipped["rows without question or context"] += 1
                    continue
                empty = False
                spans = tuple(_answers(row["answers"], context, where))
                yield Document(question, split=file.split, extra_texts=(context,), spans=spans, group=context)
        if empty:
            raise UserError(f"no documents in data.path={self.path}: its files contain no question with a context")


def squad(path: Path, form: TextFormat) -> Iterator[dict[str, Any]] | None:
    """Returns the questions of a file in the format of SQuAD, or None if it is of another one."""
    if suffix_of(path) != ".json":
        return None
    try:
        with open_text(path, form) as file:
            content = json.load(file)
    except (ValueError, RecursionError):  # one object per line, or ``rows`` says what is wrong
        return None
    return _paragraphs(content["data"], path) if isinstance(content, dict) and "data" in content else None


def _paragraphs(articles: Any, path: Path) -> Iterator[dict[str, Any]]:
    try:
        for article in articles:
            for paragraph in article["paragraphs"]:
                for each in paragraph["qas"]:
                    answers = [] if each.get("is_impossible") else each["answers"]
                    yield {"question": each["question"], "context": paragraph["context"], "answers": answers}
    except (KeyError, TypeError, AttributeError) as error:
        missing = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else "a part is of another kind"
        raise UserError(
            f"{path} is not in the format of SQuAD: {missing} (data > paragraphs > context and qas > question and "
            "answers)"
        ) from error


def _answers(given: Any, context: str, where: str) -> Iterator[Span]:
    """Yields the answers, which may be none.

    Raises:
        UserError: if they are malformed, or the context has another text at that place.
    """
    answers = given if isinstance(given, list) else [given]
    try:
        pairs = [pair for each in answers for pair in _pairs(each["text"], each["answer_start"])]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{where}: its answers need 'text' and 'answer_start', got {str(given)[:80]}; write [] where there is no "
            "answer"
        ) from error
    for text, start in pairs:
        if start < 0 or not text.strip() or context[start : start + len(text)] != text:
            found = context[max(start, 0) : max(start, 0) + len(text)]
            raise UserError(
                f"{where}: the context has '{found[:60]}' at character {start}, not the answer '{text[:60]}'; correct "
                "answer_start (from 0, in characters), or remove the question"
            )
        start += len(text) - len(text.lstrip())
        yield Span(start, start + len(text.strip()), "answer")


def _pairs(texts: Any, starts: Any) -> list[tuple[str, int]]:
    """Returns texts and their starts; ``TypeError`` or ``ValueError`` if they are none."""
    texts, starts = ([each] if isinstance(each, str | int) else list(each) for each in (texts, starts))
    if not all(isinstance(text, str) for text in texts) or not all(type(start) is int for start in starts):
        raise TypeError
    return list(zip(texts, starts, strict=True))
