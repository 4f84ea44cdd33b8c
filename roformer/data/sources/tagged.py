"""Your own text with tagged words: CoNLL files, or JSON with tokens and tags, or with entities in a text."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document, Span
from roformer.data.sources._columns import cell_label, cell_text
from roformer.data.sources._local_files import Kinds, LocalFile, find_files, local_files_key
from roformer.data.sources._local_source import LocalSource
from roformer.data.sources._opening import TextFormat, open_text
from roformer.data.tags import OUTSIDE, iob2
from roformer.data.words import joined, words_of
from roformer.errors import UserError

CACHE_VERSION = 1  # raise it when the same files would yield other documents
_KINDS = Kinds(
    (".jsonl", ".ndjson", ".json", ".parquet", ".arrow"), (".conll", ".txt", ".tsv", ".iob", ".iob2", ".bio", ".bmes")
)
_TAG_KEYS = ("tags", "ner_tags")


@SOURCES.register("tagged")
class TaggedSource(LocalSource):
    """One document per sentence, with a tag for each word. In Chinese that may be each character.

    A CoNLL file has one word per line, with its tag in another column, and a blank line after each sentence; columns
    are separated by tabs or else blanks. JSON (or parquet) has ``tokens`` with ``tags`` or ``ner_tags``, or a ``text``
    with ``entities``, each with ``start``, ``end`` (exclusive, in characters) and ``label``. Tags of IOB1, IOBES, BMES
    and BILOU become those of IOB2.

    Words are joined by blanks to the text that is tokenized; without blanks between Chinese or Japanese characters,
    and where each word is one character and one of them is Chinese.

    Args:
        path: a file, a folder, a pattern, or a list of them.
        token_column: number of the column of the word in CoNLL files, from 0.
        tag_column: likewise of the tag, -1 for the last, or its JSON key; null takes the last column, or ``tags`` or
            ``ner_tags``.
        tag_names: names of the tags 0, 1, ... where the data have numbers; null where they have names.
        encoding: as in ``TextFormat``.

    Raises:
        UserError: if there is no supported file; on reading, if a line or row is no tagged sentence.
    """

    def __init__(
        self,
        *,
        path: str | list[str],
        token_column: int,
        tag_column: int | str | None,
        tag_names: list[str] | None,
        encoding: str | None,
    ) -> None:
        self.path, self.token_column, self.tag_column = path, token_column, tag_column
        self.tag_names = tag_names
        self.form, self.corpus = TextFormat(encoding), find_files(path, _KINDS)
        self.files = self.corpus.files

    def fingerprint(self) -> str:
        columns = (self.token_column, self.tag_column, None if self.tag_names is None else list(self.tag_names))
        return content_key("tagged", CACHE_VERSION, local_files_key(self.files), *columns, self.form.key())

    def documents(self) -> Iterator[Document]:
        empty = True
        for file in self.files:
            for text, spans in self._rows(file) if _KINDS.is_table(file.path) else self._sentences(file.path):
                empty = False
                yield Document(text, split=file.split, spans=spans)
        if empty:
            raise UserError(f"no documents in data.path={self.path}: its files contain no tagged sentence")

    def _sentences(self, path: Path) -> Iterator[tuple[str, tuple[Span, ...]]]:
        """Yields the sentences of a CoNLL file."""
        words, tags = list[str](), list[str]()
        tag_column = -1 if self.tag_column is None else self.tag_column
        if isinstance(tag_column, str):
            raise UserError(f"data.tag_column={tag_column}: {path} has columns by number; give one, or null")
        for number, line in self._lines(path):
            if line.startswith("-DOCSTART-"):
                continue
            if not line.strip():
                if words:
                    yield _tagged_text(words, tags)
                words, tags = [], []
                continue
            fields = line.split("\t") if "\t" in line else line.split()
            where = f"{path}, line {number}"
            try:
                word, tag = fields[self.token_column], fields[tag_column]
            except IndexError:
                word = tag = ""
            if not word or not tag or len(fields) < 2:
                raise UserError(
                    f"{where}: '{line.strip()[:60]}' is no word with a tag (data.token_column={self.token_column}, "
                    f"data.tag_column={tag_column}; columns are separated by tabs or blanks)"
                )
            words.append(word)
            tags.append(self._tag(tag, where))
        if words:
            yield _tagged_text(words, tags)

    def _lines(self, path: Path) -> Iterator[tuple[int, str]]:
        with open_text(path, self.form) as lines:
            yield from ((number, line.rstrip("\r\n")) for number, line in enumerate(lines, 1))

    def _rows(self, file: LocalFile) -> Iterator[tuple[str, tuple[Span, ...]]]:
        """Yields the sentences of a table."""
        for number, row in enumerate(file.rows(None, self.form), 1):
            where = f"{file.path}, row {number}"
            if "tokens" not in row and "entities" not in row:
                raise UserError(
                    f"{where} has neither 'tokens' nor 'entities' (it has: {', '.join(row) or 'nothing'}); name its "
                    "columns 'tokens' and 'tags', or 'text' and 'entities'"
                )
            if "tokens" not in row:
                text = cell_text(row.get("text"), f"{where}, 'text'")
                found = None if text is None else (text, _words_with_entities(text, row["entities"], where))
            else:
                found = self._tokens(row, where)
            if found is None:
                self.skipped["rows without text"] += 1
            else:
                yield found

    def _tokens(self, row: dict[str, Any], where: str) -> tuple[str, tuple[Span, ...]] | None:
        keys = _TAG_KEYS if self.tag_column is None else (self.tag_column,)
        key = next((key for key in keys if key in row), None)
        if key is None:
            raise UserError(f"{where} has no '{keys[0]}' (it has: {', '.join(row)}); set data.tag_column")
        words, tags = row["tokens"], row[key]
        if not isinstance(words, list) or not isinstance(tags, list) or len(words) != len(tags):
            sizes = [f"{len(each)} items" if isinstance(each, list) else type(each).__name__ for each in (words, tags)]
            raise UserError(
                f"{where}: 'tokens' and '{key}' must be lists of equal length, got {sizes[0]} and {sizes[1]}"
            )
        if strange := [word for word in words if not isinstance(word, str) or not word]:
            raise UserError(f"{where}: {strange[0]!r} in 'tokens' is no word; remove it with its tag")
        text, spans = _tagged_text(words, [self._tag(tag, where) for tag in tags])
        return None if cell_text(text, f"{where}, 'tokens'") is None else (text, spans)

    def _tag(self, tag: Any, where: str) -> str:
        if self.tag_names is None and isinstance(tag, str) and (name := cell_text(tag, f"{where}, a tag")):
            return name
        if self.tag_names is None:
            raise UserError(f"{where}: {tag!r} is no name of a tag; list the names of the numbers in data.tag_names")
        try:
            number = int(tag)
            if number < 0:
                raise IndexError
            return self.tag_names[number]
        except (ValueError, TypeError, IndexError):
            count = len(self.tag_names)
            raise UserError(f"{where}: the tag {tag!r} is no number below {count}, of data.tag_names") from None


def _tagged_text(words: Sequence[str], tags: Sequence[str]) -> tuple[str, tuple[Span, ...]]:
    """Returns the text of a sentence, and its words with their tags of IOB2."""
    text, starts = joined(words)
    tagged = zip(starts, words, iob2(tags), strict=True)
    return text, tuple(Span(start, start + len(word), tag) for start, word, tag in tagged)


def _words_with_entities(text: str, entities: Any, where: str) -> tuple[Span, ...]:
    """Returns the words of a text with tags of IOB2; an entity begins and ends a word, and a Chinese character is one.

    Raises:
        UserError: if an entity is malformed, blank or outside of the text, or two overlap.
    """
    spans, before = list[Span](), 0
    for entity in sorted(_checked(text, entities, where)):
        if entity.start < before:
            raise UserError(f"{where}: the entity at {entity.start} overlaps another one; keep one of them")
        spans += [Span(*word, OUTSIDE) for word in words_of(text, before, entity.start)]
        places = words_of(text, entity.start, entity.end)
        spans += [Span(*word, f"{'I' if number else 'B'}-{entity.tag}") for number, word in enumerate(places)]
        before = entity.end
    return (*spans, *(Span(*word, OUTSIDE) for word in words_of(text, before, len(text))))


def _checked(text: str, entities: Any, where: str) -> Iterator[Span]:
    for entity in entities if isinstance(entities, list) else [entities]:
        try:
            start, end = (entity[key] for key in ("start", "end"))
            is_sound = 0 <= start < end <= len(text) and bool(text[start:end].strip())
            label = cell_label(entity["label"], f"{where}, the entity {str(entity)[:80]},")
        except (TypeError, KeyError):
            is_sound, label = False, None
        if not is_sound or label is None:
            raise UserError(
                f"{where}: the entity {str(entity)[:80]} needs start, end (exclusive, in characters of the text, of "
                f"which there are {len(text):,}) and label"
            )
        yield Span(start, end, label)
