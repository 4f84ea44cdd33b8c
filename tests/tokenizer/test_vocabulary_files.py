"""Folders with a vocab.txt and no tokenizer.json, as the first RoFormer and BERT checkpoints are."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertTokenizer, RoFormerTokenizer
from transformers import RoFormerConfig as StockConfig
from transformers import RoFormerForMaskedLM as StockRoFormer

from roformer import extras
from roformer.data.tokenize import tokenizer_key, vocabulary_size
from roformer.errors import UserError
from roformer.runs import RunFolder
from roformer.tokenizer.pretrained import load_tokenizer
from tests.tiny_runs import weights

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["今天", "天气", "非常", "中国", "北京大学", "人民法院", "电影", "公园", "模型", "the", "movie"]
CHARACTERS = [*"今天气非常中国北京大学人民法院电影公园模型好看的，。", *"abcdefghijklmnopqrstuvwxyz0123456789"]
LINES = [*SPECIAL, *WORDS, *CHARACTERS, *("##" + character for character in CHARACTERS), "GPU", "river"]
ROFORMER, BERT = {"model_type": "roformer"}, {"model_type": "bert"}
LOAD = """
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=False)
assert "roformer" not in sys.modules
print(json.dumps(tokenizer(json.load(sys.stdin))["input_ids"]))
"""


def write(folder, lines=LINES, config=None, **of_tokenizer):
    """A folder with a vocab.txt, and what other files are asked for."""
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    if of_tokenizer:
        (folder / "tokenizer_config.json").write_text(json.dumps(of_tokenizer))
    return folder


def texts(count):
    """Chinese, English, digits, punctuation and characters that no vocabulary has."""
    rng = np.random.default_rng(0)
    odd = [*"龘①½éÜТ　 \t，。!?[]-_", "[SEP]", "GPU", "12.5", "２０", "😀", "\u200b", "e\u0301"]
    return ["".join(rng.choice([*WORDS, *WORDS, *CHARACTERS, *odd], rng.integers(1, 25))) for _ in range(count)]


def of_class(**settings):
    return RoFormerTokenizer(vocab={token: number for number, token in enumerate(LINES)}, **settings)


@pytest.mark.parametrize(
    ("config", "of_tokenizer"),
    [
        (ROFORMER, {"tokenizer_class": "RoFormerTokenizer", "do_lower_case": True}),
        (ROFORMER, {"do_lower_case": False}),
        (ROFORMER, {}),
        (None, {"tokenizer_class": "RoFormerTokenizer", "strip_accents": False}),
    ],
)
def test_words_are_those_of_the_class(tmp_path, config, of_tokenizer):
    """Catches a splitter that gets the file's name in place of its words, and so makes every character a token."""
    loaded = load_tokenizer(str(write(tmp_path / "stock", config=config, **of_tokenizer)))
    settings = {key: value for key, value in of_tokenizer.items() if key != "tokenizer_class"}
    assert loaded.tokenize("北京大学的电影") == ["北京大学", "的", "电影"]
    drawn = texts(1000)
    assert loaded(drawn)["input_ids"] == of_class(**settings)(drawn)["input_ids"]


def test_offsets_name_the_token(tmp_path):
    """Catches spans that are shifted by characters that normalization removes, adds or takes apart."""
    loaded = load_tokenizer(str(write(tmp_path / "stock", config=ROFORMER)))
    for text in texts(300):
        found = loaded(text, add_special_tokens=False, return_offsets_mapping=True)
        for token, (start, stop) in zip(
            loaded.convert_ids_to_tokens(found["input_ids"]), found["offset_mapping"], strict=True
        ):
            spelled = loaded.backend_tokenizer.normalizer.normalize_str(text[start:stop])
            assert token in ("[UNK]", text[start:stop]) or token.removeprefix("##") == spelled


def test_tokens_of_another_splitter_are_not_shared(tmp_path):
    """Catches a cache of single characters, from a version that read the folder wrongly, that serves words."""
    folder = str(write(tmp_path / "stock", config=ROFORMER, tokenizer_class="RoFormerTokenizer"))
    wrong, right = AutoTokenizer.from_pretrained(folder), load_tokenizer(folder)
    wrong.backend_tokenizer.pre_tokenizer = RoFormerTokenizer(vocab={"[UNK]": 0}).backend_tokenizer.pre_tokenizer
    assert right.backend_tokenizer.model.__getstate__() == wrong.backend_tokenizer.model.__getstate__()
    assert tokenizer_key(right) == tokenizer_key(of_class()) != tokenizer_key(wrong)


def test_missing_rjieba_is_named(tmp_path, monkeypatch):
    """Catches many lines about an import in the place of the extra to install."""
    folder = write(tmp_path / "stock", config=ROFORMER)
    monkeypatch.setitem(sys.modules, "rjieba", None)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"stock needs the package rjieba: pip install 'roformer-lab\[chinese\]'$"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize(
    ("config", "of_tokenizer", "asked"),
    [
        (BERT, {"do_lower_case": True}, False),
        (ROFORMER, {"tokenizer_class": "BertTokenizer"}, False),  # RoFormer of single characters
        (None, {"tokenizer_class": "BertTokenizer"}, False),
        ({**ROFORMER, "tokenizer_class": "BertTokenizer"}, {}, False),
        (None, {}, True),
        (None, {"do_lower_case": False}, True),
        ({"vocab_size": len(LINES)}, {}, True),
        ({"model_type": "another_bert"}, {}, True),
    ],
)
def test_word_pieces_of_bert(tmp_path, capsys, config, of_tokenizer, asked):
    """Catches a refusal of an old folder, and a kind that is assumed without a word."""
    loaded = load_tokenizer(str(write(tmp_path / "old", config=config, **of_tokenizer)))
    lower = of_tokenizer.get("do_lower_case", True)
    expected = BertTokenizer(vocab={token: number for number, token in enumerate(LINES)}, do_lower_case=lower)
    drawn = texts(200)
    assert loaded(drawn)["input_ids"] == expected(drawn)["input_ids"]
    out = capsys.readouterr().out
    assert (out.count("\n"), "reading it as BERT's WordPiece, in lower case" in out) == (asked, asked and lower)


def test_words_of_a_folder_that_names_no_class(tmp_path, capsys):
    """Catches the authors' vocabulary of words, published for TensorFlow, that is read as single characters."""
    folder = write(tmp_path / "old", [*SPECIAL, *WORDS, *"今天气非常中国北京大学的"], {"vocab_size": 100})
    assert load_tokenizer(str(folder)).tokenize("北京大学的天气") == ["北京大学", "的", "天气"]
    assert "reading it as Chinese words, in lower case" in capsys.readouterr().out


@pytest.mark.parametrize("content", ['{"tokenizer_class": "UnheardOfTokenizer"}', "{", "[]"])
def test_a_kind_that_is_named_is_not_replaced(tmp_path, content):
    """Catches word pieces in the place of a class that cannot be loaded, and a traceback about a damaged file."""
    folder = write(tmp_path / "other")
    (folder / "tokenizer_config.json").write_text(content)
    with pytest.raises(UserError, match=r"cannot load tokenizer\.path") as caught:
        load_tokenizer(str(folder))
    assert "\n" not in str(caught.value)


def test_a_repeated_line_keeps_the_numbers_of_the_others(tmp_path):
    """Catches numbers that are those of the lines without their repetitions, or a count that ends before the last."""
    lines = [*LINES[:8], LINES[7], *LINES[8:]]
    for config in (ROFORMER, BERT):
        loaded = load_tokenizer(str(write(tmp_path / config["model_type"], lines, config)))
        assert loaded.convert_tokens_to_ids([LINES[8], LINES[-1]]) == [9, len(LINES)]
        assert (len(loaded), vocabulary_size(loaded)) == (len(LINES), len(LINES) + 1)


@pytest.fixture
def chinese(tmp_path):
    file = tmp_path / "chinese.jsonl"
    file.write_text("\n".join(json.dumps({"text": "电影。" + text}) for text in texts(60)), encoding="utf-8")
    return ("data=text", f"data.path={file}", "trainer.max_steps=1")


@pytest.fixture
def stock(tmp_path):
    """A checkpoint with a vocab.txt of Chinese words, and a row more than it has tokens, and eight of padding."""
    folder, lines = tmp_path / "stock", [*LINES[:8], LINES[7], *LINES[8:]]
    write(folder, lines, tokenizer_class="RoFormerTokenizer")
    sizes = {"hidden_size": 32, "embedding_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    StockRoFormer(StockConfig(vocab_size=len(lines) + 8, intermediate_size=64, **sizes)).save_pretrained(folder)
    return folder


def test_a_run_trains_on_words_and_exports_them(tiny_runs, tmp_path, chinese, stock):
    """Catches training on characters, an export that cuts in another way than training did, one that needs this
    package to be read, and rows of a padded vocabulary that get lost or are refused."""
    run = tiny_runs.train(tmp_path / "run", f"init_from={stock}", *chinese)
    drawn = texts(100)
    expected = load_tokenizer(str(stock))(drawn)["input_ids"]
    given = {"input": json.dumps(drawn), "cwd": tmp_path, "text": True, "capture_output": True, "check": True}
    result = subprocess.run([sys.executable, "-c", LOAD, str(run / "export")], env={"PATH": ""}, **given)
    assert json.loads(result.stdout) == expected
    assert tokenizer_key(load_tokenizer(str(run / "export"))) == tokenizer_key(load_tokenizer(str(stock)))
    tokens = np.load(tiny_runs.cache / f"tokens-{RunFolder(run).provenance['data_fingerprint']}" / "train.tokens.npy")
    assert LINES.index("电影") + 1 in tokens  # after the repeated line
    assert len(weights(run)["head.decoder.bias"]) == len(LINES) + 9


@pytest.mark.parametrize("kind", ["more", "others"])
def test_another_vocabulary_is_refused(tiny_runs, tmp_path, chinese, stock, kind):
    """Catches tokens without an embedding, and those of others that fit in because the vocabulary is padded."""
    lines = [*LINES, *map(str, range(1000, 1020))] if kind == "more" else LINES[:-1]
    other = write(tmp_path / "other", lines, tokenizer_class="RoFormerTokenizer")
    settings = ("tokenizer=pretrained", f"tokenizer.path={other}")
    with pytest.raises(UserError) as caught:
        tiny_runs.train(tmp_path / "run", f"init_from={stock}", *chinese, *settings)
    reason = (
        f"needs {len(LINES) + 20} embeddings"
        if kind == "more"
        else "gives other numbers to its tokens than the one in"
    )
    assert f"the tokenizer {reason}" in str(caught.value)
