"""Words of Chinese as tokens: what is a word, and that nothing is lost when the tokenizer is saved."""

import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, RoFormerTokenizer

from roformer import extras
from roformer.data import SOURCES
from roformer.data.tokenize import tokenize_corpus, tokenizer_key
from roformer.errors import UserError
from roformer.tokenizer import TOKENIZERS, _base

SETTINGS = {"name": "words", "vocab_size": 300, "alphabet_size": 90, "lowercase": True, "max_characters": None}
SHARES = {"validation_fraction": 0.1, "test_fraction": 0.1}
PHRASES = (
    "今天天气非常好", "我们一起去公园散步", "人民法院依法审理案件", "合同双方应当遵守约定", "中华人民共和国民法典",
    "他在北京大学学习数学", "原告请求被告返还借款", "这本书讲的是宋代的历史", "Transformer 模型有 12 层", "GPU 很快",
)  # fmt: skip


def texts(count):
    rng = np.random.default_rng(count)
    return ["，".join(rng.choice(PHRASES, 6)) + "。" for _ in range(count)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    file = tmp_path_factory.mktemp("chinese") / "text.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in texts(120)), encoding="utf-8")
    return SOURCES.build({"name": "text", "path": str(file), "text_column": "text"})


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def tokenizer(source, cache):
    return TOKENIZERS.build(SETTINGS).prepare(source, cache_dir=cache, **SHARES)


def test_words_are_those_of_jieba(tokenizer):
    """Catches characters where a word is known, and a word where only its characters are."""
    assert isinstance(tokenizer, RoFormerTokenizer)
    assert tokenizer.tokenize("今天天气非常好。") == ["今天天气", "非常", "好", "。"]
    assert tokenizer.tokenize("人民法院依法") == ["人民法院", "依法"]
    assert tokenizer.tokenize("法学") == ["法", "学"]  # a word, but none of the corpus
    assert tokenizer.tokenize("transformer") == ["transformer"]
    assert tokenizer.tokenize("GPT")[:2] == ["g", "##p"]
    assert tokenizer.tokenize("龘") == ["[UNK]"]
    assert tokenizer.convert_tokens_to_ids(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]) == [0, 1, 2, 3, 4]
    assert len(tokenizer) <= 300


def test_nothing_is_lost_on_the_way(tokenizer, tmp_path):
    """Catches a saved tokenizer that has forgotten how to cut words (as its tokenizer.json alone has)."""
    tokenizer.save_pretrained(tmp_path / "first")
    once = AutoTokenizer.from_pretrained(tmp_path / "first")
    once.save_pretrained(tmp_path / "second")
    twice = AutoTokenizer.from_pretrained(tmp_path / "second")
    for text in texts(1000):
        ids = tokenizer(text)["input_ids"]
        assert once(text)["input_ids"] == ids
        assert twice(text)["input_ids"] == ids


def test_the_cache_knows_whose_tokens_it_holds(source, cache, tokenizer):
    """Catches a tokenizer that cannot be named, and two vocabularies with one name."""
    corpus = tokenize_corpus(source, tokenizer, cache_dir=cache, **SHARES)
    again = tokenize_corpus(source, AutoTokenizer.from_pretrained(_folder(cache)), cache_dir=cache, **SHARES)
    assert again.fingerprint == corpus.fingerprint
    smaller = TOKENIZERS.build({**SETTINGS, "vocab_size": 190}).prepare(source, cache_dir=cache, **SHARES)
    assert tokenizer_key(smaller) != tokenizer_key(tokenizer)
    document = next(iter(source.documents())).text
    assert tokenizer(document, add_special_tokens=False)["input_ids"] in [
        split.document(index).tolist() for split in corpus.splits.values() for index in range(len(split))
    ]


def test_pieces_are_the_whole(tokenizer, tmp_path):
    """Catches a word, or what is not Chinese, that is cut where a document is cut to save time."""
    rng = np.random.default_rng(0)
    ends = ["。", "\n", "。\n", "\r\n\n", "。。", " ", "", "3。5", ".\n", "\u2028"]
    documents = ["".join(part + rng.choice(ends) for part in rng.choice(PHRASES, 30)) for _ in range(40)]
    file = tmp_path / "text.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in [*documents, "\n。\n"]), encoding="utf-8")
    source = SOURCES.build({"name": "text", "path": str(file), "text_column": "text"})
    shares = {"validation_fraction": 0.0, "test_fraction": 0.0}
    train = tokenize_corpus(source, tokenizer, cache_dir=tmp_path, **shares).splits["train"]
    assert len(train) == len(documents) + 1
    for index, document in enumerate([*documents, "\n。\n"]):
        whole = tokenizer(document, add_special_tokens=False)["input_ids"]
        assert train.document(index).tolist() == whole


def _folder(cache: Path) -> Path:
    """The largest of those that were trained."""
    return max(cache.glob("tokenizer-*"), key=lambda folder: (folder / "tokenizer.json").stat().st_size)


def test_it_can_be_loaded_like_any_other(source, cache, tokenizer):
    """Catches a refusal of words that are cut in Python, of which this class knows how."""
    loaded = TOKENIZERS.build({"name": "pretrained", "path": str(_folder(cache))})
    assert loaded.prepare(source, cache_dir=cache, **SHARES).tokenize("非常好") == ["非常", "好"]


def test_offsets_are_those_of_the_words(tokenizer):
    """Catches spans of characters in the place of words, or shifted ones, which a model of entities would learn."""
    text = "今天天气非常好。\tＧＰＵ  très 很快\u3000法学😀[SEP]２０"
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = [text[start:stop] for start, stop in found["offset_mapping"]]
    assert spans[:4] == ["今天天气", "非常", "好", "。"]
    assert "".join(spans) == "".join(text.split())
    words = tokenizer([["今天天气", "很快GPU", "法学"]], is_split_into_words=True, add_special_tokens=False)
    assert words.word_ids(0) == [0, 1, 1, 2, 2]


def test_missing_rjieba_is_named(source, tmp_path, monkeypatch):
    """Catches a traceback for the one package that is not installed by default."""
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "rjieba" else find_spec(name))
    with pytest.raises(UserError, match=r"words needs the package rjieba: pip install 'roformer-lab.chinese"):
        TOKENIZERS.build(SETTINGS).prepare(source, cache_dir=tmp_path, **SHARES)


def test_other_dictionary_other_vocabulary(source, cache, tokenizer, monkeypatch):
    """Catches a cache that holds what another version of rjieba has cut."""
    before = len(list(cache.glob("tokenizer-*")))
    monkeypatch.setattr(_base, "version", lambda name: "another" if name == "rjieba" else version(name))
    TOKENIZERS.build(SETTINGS).prepare(source, cache_dir=cache, **SHARES)
    assert len(list(cache.glob("tokenizer-*"))) == before + 1


def test_added_tokens_count(tokenizer):
    """Catches tokens of a tokenizer that is the same but for an added word."""
    longer = RoFormerTokenizer(vocab=tokenizer.get_vocab(), do_lower_case=True)
    assert tokenizer_key(longer) == tokenizer_key(tokenizer)
    longer.add_tokens(["oak"])
    assert tokenizer_key(longer) != tokenizer_key(tokenizer)


@pytest.mark.parametrize("lowercase", [True, False])
def test_odd_text_survives_as_well(source, tmp_path, lowercase):
    """Catches a normalization that is not saved: blanks, accents, capitals, traditional characters, symbols."""
    settings = {**SETTINGS, "lowercase": lowercase}
    tokenizer = TOKENIZERS.build(settings).prepare(source, cache_dir=tmp_path, **SHARES)
    tokenizer.save_pretrained(tmp_path / "saved")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "saved")
    rng = np.random.default_rng(1)
    parts = [
        "Transformer",
        "GPU",
        "très",
        "今天",
        "法院",
        "\u3000",
        "\t",
        "\n",
        "龘",
        "機器學習",
        "😀",
        "[SEP]",
        "[MASK]",
        "１２",
        "—",
        "a b",
    ]
    for _ in range(1000):
        text = "".join(rng.choice(parts, 8))
        assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"], text
    assert ("[UNK]" in tokenizer.tokenize("Gpu")) == (not lowercase)
