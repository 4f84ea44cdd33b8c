"""The trained tokenizer: deterministic, cached, and usable by plain transformers."""

import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from roformer.data import SOURCES
from roformer.data.splits import split_documents
from roformer.errors import UserError
from roformer.tokenizer import TOKENIZERS

SETTINGS = {"name": "wordpiece", "vocab_size": 400, "alphabet_size": 40, "lowercase": True, "max_characters": None}
FRACTIONS = {"validation_fraction": 0.2, "test_fraction": 0.1}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    words = ["rotary", "position", "embedding", "of", "queries", "and", "keys", "Café", "depends", "on", "distance"]
    lines = [" ".join(words[(i * j) % len(words)] + str(i * j % 10) for j in range(1, 20)) for i in range(120)]
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(lines), encoding="utf-8")
    return path


def prepare(corpus: Path, cache: Path, **changes: object) -> PreTrainedTokenizerFast:
    source = SOURCES.build({"name": "text", "path": str(corpus), "text_column": "text"})
    return TOKENIZERS.build({**SETTINGS, **changes}).prepare(source, cache_dir=cache, **FRACTIONS)


def test_special_tokens_and_templates_are_those_of_bert(corpus: Path, tmp_path: Path) -> None:
    """Catches a padding id other than 0, missing [CLS] ... [SEP], and wrong segments of a pair."""
    tokenizer = prepare(corpus, tmp_path / "cache")
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer.convert_tokens_to_ids(names) == [0, 1, 2, 3, 4]
    special = [
        tokenizer.pad_token,
        tokenizer.unk_token,
        tokenizer.cls_token,
        tokenizer.sep_token,
        tokenizer.mask_token,
    ]
    assert special == names
    pair = tokenizer("rotary", "keys")
    ids = pair["input_ids"]
    assert (ids[0], ids[-1], ids.count(3)) == (2, 3, 2)
    assert pair["token_type_ids"] == [0] * (ids.index(3) + 1) + [1] * (len(ids) - ids.index(3) - 1)
    assert tokenizer.decode(tokenizer("Rotary position embedding")["input_ids"], skip_special_tokens=True) == (
        "rotary position embedding"
    )
    assert tokenizer.tokenize("café") == tokenizer.tokenize("CAFE")
    assert tokenizer.tokenize("##a [MASK]")[-1] == "[MASK]"
    assert len(tokenizer) <= 400


def test_pieces_of_words_are_not_special(corpus: Path, tmp_path: Path) -> None:
    """Catches the trick that fixes the ids of "##a" leaking into the tokenizer: "##a" in a text is no token."""
    tokenizer = prepare(corpus, tmp_path / "cache")
    assert len(tokenizer.backend_tokenizer.get_added_tokens_decoder()) == 5
    assert tokenizer.tokenize("##a")[-1] == "a"


def test_long_texts_give_no_warning(corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Catches a maximum length baked into the tokenizer."""
    assert len(prepare(corpus, tmp_path / "cache")("rotary " * 5000)["input_ids"]) >= 5000
    assert caplog.text == ""


def test_auto_tokenizer_reads_the_folder(corpus: Path, tmp_path: Path) -> None:
    """Catches a folder that needs this package to be read."""
    tokenizer = prepare(corpus, tmp_path / "cache")
    (folder,) = (tmp_path / "cache").glob("tokenizer-*")
    loaded = AutoTokenizer.from_pretrained(folder)
    assert loaded("Rotary keys", "of 42")["input_ids"] == tokenizer("Rotary keys", "of 42")["input_ids"]
    assert loaded.mask_token_id == 4


@pytest.mark.slow
def test_two_processes_train_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    """Catches ids and merges that follow the order of a hash map, which is another one in every process."""
    code = f"""
        from pathlib import Path
        from roformer.data import SOURCES
        from roformer.tokenizer import TOKENIZERS
        import sys
        source = SOURCES.build({{"name": "text", "path": {str(corpus)!r}, "text_column": "text"}})
        TOKENIZERS.build({SETTINGS!r}).prepare(source, cache_dir=Path(sys.argv[1]), **{FRACTIONS!r})
    """
    digests = set()
    for run in range(3):
        cache = tmp_path / f"cache{run}"
        subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(cache)], check=True)
        (file,) = cache.glob("*/tokenizer.json")
        digests.add((file.parent.name, hashlib.sha256(file.read_bytes()).hexdigest()))
    assert len(digests) == 1


def test_a_second_call_reads_the_cache(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches training again at every start, and a cache that ignores a setting."""
    first = prepare(corpus, tmp_path / "cache")
    prepare(corpus, tmp_path / "cache", vocab_size=300)
    monkeypatch.setattr(TOKENIZERS["wordpiece"], "train", lambda *args: pytest.fail("trained again"))
    assert prepare(corpus, tmp_path / "cache").get_vocab() == first.get_vocab()
    for change in ({"vocab_size": 350}, {"alphabet_size": 30}, {"lowercase": False}, {"max_characters": 100}):
        with pytest.raises(pytest.fail.Exception, match="trained again"):
            prepare(corpus, tmp_path / "cache", **change)


def test_only_the_train_split_is_seen(tmp_path: Path) -> None:
    """Catches a vocabulary learned from the text that is evaluated on."""
    texts = [f"plain text {i} " for i in range(200)]
    marker = "zyxw"
    (tmp_path / "plain.txt").write_text("\n\n".join(texts))
    source = SOURCES.build({"name": "text", "path": str(tmp_path / "plain.txt"), "text_column": "text"})
    held_out = {d.text for split, d in split_documents(source, **FRACTIONS) if split != "train"}
    assert held_out
    (tmp_path / "train.jsonl").write_text("\n".join(f'{{"text": "plain {i}"}}' for i in range(99)))
    (tmp_path / "test.jsonl").write_text("\n".join(f'{{"text": "{marker} {i}"}}' for i in range(99)))
    tokenizer = prepare(tmp_path, tmp_path / "cache")
    assert not set(marker) & set(tokenizer.get_vocab())


def test_rare_characters_become_unknown(tmp_path: Path) -> None:
    """Catches an alphabet that fills the vocabulary with characters seen once."""
    (tmp_path / "corpus.txt").write_text(
        "\n\n".join([*("abc cab bca" for _ in range(5)), *(f"abc ab {i}" for i in "xyz")])
    )
    source = SOURCES.build({"name": "text", "path": str(tmp_path / "corpus.txt"), "text_column": "text"})
    wordpiece = TOKENIZERS.build({**SETTINGS, "vocab_size": 30, "alphabet_size": 3})
    tokenizer = wordpiece.prepare(source, cache_dir=tmp_path / "cache", validation_fraction=0.0, test_fraction=0.0)
    assert tokenizer.tokenize("abc x") == ["abc", "[UNK]"]
    assert {token for token in tokenizer.get_vocab() if len(token) == 1} == set("abc")


def test_case_is_kept_where_asked_for(corpus: Path, tmp_path: Path) -> None:
    """Catches a lowercase setting that does nothing."""
    assert "C" in prepare(corpus, tmp_path / "cache", lowercase=False).get_vocab()


def test_a_vocabulary_smaller_than_its_alphabet_is_refused() -> None:
    """Catches a vocabulary that silently grows over its size."""
    with pytest.raises(UserError, match=r"vocab_size=50 .*allowed: 85 or more"):
        TOKENIZERS.build({**SETTINGS, "vocab_size": 50})


def test_a_corpus_without_training_text_is_named(tmp_path: Path) -> None:
    """Catches a tokenizer of nothing."""
    (tmp_path / "test.txt").write_text("only a test")
    with pytest.raises(UserError, match=r"the train split of 1 documents is empty"):
        prepare(tmp_path, tmp_path / "cache")
