"""Splits, token files and their cache."""

import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from roformer.data import Document, Source
from roformer.data.cache import content_key
from roformer.data.collators import split_texts
from roformer.data.splits import split_documents, split_of
from roformer.data.token_store import TokenizedCorpus
from roformer.data.tokenize import tokenize_corpus, tokenizer_key
from roformer.errors import UserError

TEXTS = [f"w{i % 7} w{i % 11} word{i}" + " w1" * (i % 13) for i in range(400)]


class ListSource(Source):
    """Documents from memory; counts how often it is read."""

    def __init__(self, documents: list[Document], provided: frozenset[str] = frozenset()) -> None:
        self.items, self.provided, self.reads = documents, provided, 0

    def fingerprint(self) -> str:
        return json.dumps([[item.text, item.label, item.split] for item in self.items])

    def provided_splits(self) -> frozenset[str]:
        return self.provided

    def documents(self) -> Iterator[Document]:
        self.reads += 1
        yield from self.items


def word_tokenizer(extra: int = 0) -> PreTrainedTokenizerFast:
    words = sorted({word for text in TEXTS for word in text.split()})
    words = ["[UNK]", *(f"unused{i}" for i in range(extra)), *words]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[UNK]")


def tokenize(
    source: Source, folder: Path, validation: float = 0.1, test: float = 0.1, extra: int = 0
) -> TokenizedCorpus:
    return tokenize_corpus(
        source, word_tokenizer(extra), cache_dir=folder, validation_fraction=validation, test_fraction=test
    )


def texts_of(corpus: TokenizedCorpus, split: str, extra: int = 0) -> list[str]:
    tokens = word_tokenizer(extra).convert_ids_to_tokens
    part = corpus.splits[split]
    return [" ".join(tokens(part.document(i).tolist())) for i in range(len(part))]


def test_the_files_hold_every_document_of_its_split(tmp_path: Path) -> None:
    """Catches lost, doubled or shifted documents, special tokens in the cache, and a wrong header length."""
    source = ListSource([Document(text) for text in TEXTS])
    corpus = tokenize(source, tmp_path)
    expected: dict[str, list[str]] = {}
    for split, document in split_documents(source, validation_fraction=0.1, test_fraction=0.1):
        expected.setdefault(split, []).append(document.text)
    assert {name: texts_of(corpus, name) for name in corpus.splits} == expected
    for part in corpus.splits.values():
        assert isinstance(part.tokens, np.memmap)
        assert part.tokens.dtype == np.uint16
        assert part.offsets[-1] == len(part.tokens)
        assert part.labels is None
    assert corpus.label_names == ()
    meta = json.loads((corpus.folder / "meta.json").read_text())
    assert sum(size["characters"] for size in meta["splits"].values()) == sum(map(len, TEXTS))


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    """Catches token ids that wrap around at 65,536."""
    corpus = tokenize(ListSource([Document(text) for text in TEXTS]), tmp_path, extra=70_000)
    assert corpus.splits["train"].tokens.dtype == np.uint32
    assert set(texts_of(corpus, "train", extra=70_000)) <= set(TEXTS)


def test_a_second_call_reads_the_cache(tmp_path: Path) -> None:
    """Catches tokenizing again at every start."""
    source = ListSource([Document(text) for text in TEXTS])
    first = tokenize(source, tmp_path)
    again = tokenize(source, tmp_path)
    assert source.reads == 1
    assert (again.folder, again.fingerprint) == (first.folder, first.fingerprint)
    np.testing.assert_array_equal(first.splits["train"].tokens, again.splits["train"].tokens)


def test_another_content_gets_another_folder(tmp_path: Path) -> None:
    """Catches a cache that ignores the text, the tokenizer or the fractions."""
    source = ListSource([Document(text) for text in TEXTS])
    folders = {tokenize(source, tmp_path).folder, tokenize(source, tmp_path, validation=0.2).folder}
    folders |= {tokenize(source, tmp_path, test=0.2).folder, tokenize(source, tmp_path, extra=1).folder}
    folders |= {tokenize(ListSource(source.items[1:]), tmp_path).folder}
    assert len(folders) == 5


def test_earlier_padding_and_truncation_leave_no_trace(tmp_path: Path) -> None:
    """Catches the tokenizer's own state, which a call with padding=True or truncation=True changes."""
    source = ListSource([Document(text) for text in TEXTS])
    used = word_tokenizer()
    used(TEXTS[:3], padding="max_length", truncation=True, max_length=2)
    corpus = tokenize_corpus(source, used, cache_dir=tmp_path, validation_fraction=0.1, test_fraction=0.1)
    assert corpus.folder == tokenize(source, tmp_path).folder
    assert set(texts_of(corpus, "train")) <= set(TEXTS)


def test_special_tokens_in_a_text_are_text(tmp_path: Path) -> None:
    """Catches a document about BERT whose "[MASK]" and "[SEP]" become control tokens."""
    inner = Tokenizer(models.WordLevel({"[UNK]": 0, "[SEP]": 1, "[MASK]": 2, "a": 3}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()  # which parts the brackets from the word
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, sep_token="[SEP]", mask_token="[MASK]")
    assert tokenizer("a [MASK] [SEP]", add_special_tokens=False)["input_ids"] == [3, 2, 1]
    corpus = tokenize_corpus(
        ListSource([Document("a [MASK] [SEP]")]), tokenizer, cache_dir=tmp_path, validation_fraction=0, test_fraction=0
    )
    assert set(corpus.splits["train"].document(0).tolist()) == {3, 0}


WORDS_AND_SPECIAL = {"[UNK]": 0, "[SEP]": 1, "[MASK]": 2, "a": 3, "b": 4}
MODELS = {
    "words": models.WordLevel(WORDS_AND_SPECIAL, unk_token="[UNK]"),
    "word pieces": models.WordPiece(WORDS_AND_SPECIAL, unk_token="[UNK]"),
    "unigram": models.Unigram([(token, 0.0) for token in WORDS_AND_SPECIAL], unk_id=0),
    "byte pairs": models.BPE(WORDS_AND_SPECIAL, [], ignore_merges=True),
}


@pytest.mark.parametrize("unknown", ["[UNK]", None])
@pytest.mark.parametrize("kind", MODELS)
def test_a_special_token_that_is_a_word_of_a_text_is_text(tmp_path: Path, kind: str, unknown: str | None) -> None:
    """Catches a tokenizer of words at blanks, for which a written "[SEP]" ends a text and "[MASK]" hides a word."""
    inner = Tokenizer(MODELS[kind])
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"sep_token": "[SEP]", "mask_token": "[MASK]", **({"unk_token": unknown} if unknown else {})}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **special)
    source = ListSource([Document("a [SEP] b [MASK]", extra_texts=("[SEP] b",))])
    corpus = tokenize_corpus(source, tokenizer, cache_dir=tmp_path, validation_fraction=0, test_fraction=0)
    found = split_texts(corpus.splits["train"].document(0), tokenizer)
    assert [text.tolist() for text in found] == ([[3, 0, 4, 0], [0, 4]] if unknown else [[3, 4], [4]])


def test_a_key_changes_with_the_tokens_only() -> None:
    """Catches caches that are made again after an update, and one of before that holds a written "[SEP]" as [SEP]."""

    def keys(splitter: pre_tokenizers.PreTokenizer) -> tuple[str, str]:
        inner = Tokenizer(models.WordLevel(WORDS_AND_SPECIAL, unk_token="[UNK]"))
        inner.pre_tokenizer = splitter
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, sep_token="[SEP]", unk_token="[UNK]")
        stored = json.loads(tokenizer.backend_tokenizer.to_str())
        for part in ("post_processor", "decoder", "padding", "truncation"):
            del stored[part]
        return tokenizer_key(tokenizer), content_key(stored)

    now, before = keys(pre_tokenizers.Whitespace())  # which parts the brackets from the word
    assert now == before
    now, before = keys(pre_tokenizers.WhitespaceSplit())
    assert now != before


def test_a_failed_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """Catches half a cache that the next run takes for a whole one."""

    class Failing(ListSource):
        def documents(self) -> Iterator[Document]:
            yield from self.items[:300] * 3
            raise RuntimeError("power cut")

    source = Failing([Document(text) for text in TEXTS])
    with pytest.raises(RuntimeError):
        tokenize(source, tmp_path)
    assert [path for path in tmp_path.iterdir() if path.name != ".locks"] == []


def _tokenize_when_both_are_ready(folder: Path, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    tokenize(ListSource([Document(text) for text in TEXTS]), folder)


def test_two_processes_share_one_cache(tmp_path: Path) -> None:
    """Catches two ranks that write the same folder at once."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    both = [context.Process(target=_tokenize_when_both_are_ready, args=(tmp_path, barrier)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    (only,) = tmp_path.glob("tokens-*")
    source = ListSource([Document(text) for text in TEXTS])
    assert tokenize(source, tmp_path).folder == only
    assert source.reads == 0


def test_documents_in_two_splits_are_counted(tmp_path: Path) -> None:
    """Catches test documents that were trained on, without a word."""
    train, test = (
        [Document(text, split=split) for text in texts]
        for split, texts in (("train", TEXTS[:9]), ("test", TEXTS[6:11]))
    )
    corpus = tokenize(ListSource(train + test, frozenset({"test"})), tmp_path, validation=0.0)
    assert corpus.warnings == (
        "3 test documents are training documents, too; data.drop_repeated=true does not train on them",
    )
    alone = tokenize(ListSource(train), tmp_path / "alone", validation=0.0)
    assert alone.warnings == ()


def test_the_hash_splits_by_text_and_by_share() -> None:
    """Catches the same text in two splits, a split that depends on the order, and wrong shares."""
    counts = {"train": 0, "validation": 0, "test": 0}
    for i in range(4000):
        counts[split_of(Document(f"text {i}"), 0.2, 0.1, set())] += 1
    assert abs(counts["validation"] / 4000 - 0.2) < 0.03
    assert abs(counts["test"] / 4000 - 0.1) < 0.03
    found = [split_of(Document("same"), 0.4, 0.4, set()), split_of(Document("same", label="x"), 0.4, 0.4, set())]
    assert len(set(found)) == 1


def test_provided_splits_are_honoured() -> None:
    """Catches a test set carved out of train where the source has one, and provided text that is moved."""
    items = [Document(f"a{i}", split="train") for i in range(200)] + [
        Document(f"b{i}", split="test") for i in range(50)
    ]
    source = ListSource(items, frozenset({"test"}))
    found = {
        document.text: split for split, document in split_documents(source, validation_fraction=0.3, test_fraction=0.3)
    }
    assert {text for text, split in found.items() if split == "test"} == {f"b{i}" for i in range(50)}
    assert 30 < sum(split == "validation" for split in found.values()) < 90


def test_labels_are_sorted_names_and_their_indices(tmp_path: Path) -> None:
    """Catches label ids that depend on the order of the documents."""
    items = [Document(text, label="cba"[i % 3]) for i, text in enumerate(TEXTS)]
    corpus = tokenize(ListSource(items), tmp_path)
    assert corpus.label_names == ("a", "b", "c")
    label_of = {item.text: item.label for item in items}
    for name, part in corpus.splits.items():
        assert part.labels is not None
        assert [corpus.label_names[i] for i in part.labels] == [label_of[text] for text in texts_of(corpus, name)]


def test_splits_of_share_zero_are_not_there(tmp_path: Path) -> None:
    """Catches an empty split that is evaluated."""
    assert set(tokenize(ListSource([Document(text) for text in TEXTS]), tmp_path, test=0.0).splits) == {
        "train",
        "validation",
    }


TRAIN = Document("w1", split="train")
VALIDATION = Document("w1", split="validation")
TEST = Document("w1", split="test")
HALF_LABELED = [Document(text, label="a" if i % 2 else None) for i, text in enumerate(TEXTS)]
MISTAKES = {
    "no documents": ([], set(), r"no documents"),
    "one document": ([Document("w1")], set(), r"split of 1 documents is empty"),
    "nothing for validation": ([TEST, TRAIN], {"test"}, r"raise data\.validation_fraction"),
    "nothing to train on": ([TEST, VALIDATION], {"test", "validation"}, r"train split.*train\*"),
    "some labels": (HALF_LABELED, set(), r"some have none"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_the_corpus_are_named(tmp_path: Path, mistake: str) -> None:
    """Catches a corpus that trains on nothing or evaluates on nothing."""
    documents, provided, message = MISTAKES[mistake]
    with pytest.raises(UserError, match=message) as caught:
        tokenize(ListSource(list(documents), frozenset(provided)), tmp_path)
    assert "\n" not in str(caught.value)
    assert [path for path in tmp_path.iterdir() if path.name != ".locks"] == []


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.0), (0.0, 1.0), (0.5, 0.5)])
def test_impossible_fractions_are_refused(tmp_path: Path, validation: float, test: float) -> None:
    """Catches a percentage given for a share."""
    with pytest.raises(UserError, match=r"fraction"):
        tokenize(ListSource([Document(text) for text in TEXTS]), tmp_path, validation, test)
