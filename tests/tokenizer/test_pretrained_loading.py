"""Loading a tokenizer that exists, and refusing what cannot work."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import PreTokenizedString, Tokenizer, models
from tokenizers.pre_tokenizers import PreTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from roformer.data import SOURCES
from roformer.errors import UserError
from roformer.tokenizer import TOKENIZERS

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def prepare(path: Path | str) -> PreTrainedTokenizerFast:
    source = SOURCES.build(
        {"name": "mixture", "sources": [{"name": "docs", "packages": ["rich"], "min_characters": 1}]}
    )
    tokenizer = TOKENIZERS.build({"name": "pretrained", "path": str(path)})
    return tokenizer.prepare(source, cache_dir=Path("unused"), validation_fraction=0.1, test_fraction=0.1)


def save(folder: Path, **special: str) -> Path:
    vocabulary = {token: i for i, token in enumerate([*SPECIAL.values(), "a"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return folder


def test_a_saved_folder_is_loaded(tmp_path: Path) -> None:
    """Catches a loader that changes ids or writes into the cache."""
    tokenizer = prepare(save(tmp_path / "saved", **SPECIAL))
    assert tokenizer.convert_tokens_to_ids(["[PAD]", "[MASK]", "a"]) == [0, 4, 5]
    assert not Path("unused").exists()


@pytest.mark.parametrize("name", ["pad_token", "cls_token", "sep_token", "mask_token"])
def test_a_missing_special_token_is_named(tmp_path: Path, name: str) -> None:
    """Catches a GPT-like tokenizer that would fail in the first masked batch."""
    folder = save(tmp_path / "saved", **{key: value for key, value in SPECIAL.items() if key != name})
    with pytest.raises(UserError, match=rf"has no {name}"):
        prepare(folder)


def test_a_token_for_two_things_is_refused(tmp_path: Path) -> None:
    """Catches unknown words that end a text, because the token for both is one."""
    with pytest.raises(UserError, match=r"uses one token for two of .*unk_token.* give each its own$"):
        prepare(save(tmp_path / "saved", **{**SPECIAL, "unk_token": "[SEP]"}))


def test_a_number_for_two_tokens_is_refused(tmp_path: Path) -> None:
    """Catches a mask, added to a vocab.txt that lacks it, with the number of the last word after a repeated line."""
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "a", "b"]))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(UserError, match=r"gives the number 6 to '\[MASK\]' and to 'b'; give each its own$"):
        prepare(tmp_path)


@pytest.mark.parametrize("kind", ["BertTokenizer", "RoFormerTokenizer"])
@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (None, "has no tokens but special ones; copy its vocab.txt"),
        ([], "has no tokens but special ones; copy its vocab.txt"),
        (["[PAD]", "[CLS]", "[SEP]", "[MASK]", "a"], r"does not know \(.*\[UNK\].*; add that token to its vocab.txt"),
    ],
)
def test_a_vocabulary_that_is_not_there_is_refused(
    tmp_path: Path, kind: str, lines: list[str] | None, said: str
) -> None:
    """Catches BERT's tokenizer that takes every word for unknown, in silence, and a traceback out of the library."""
    (tmp_path / "tokenizer_config.json").write_text(f'{{"tokenizer_class": "{kind}"}}')
    if lines is not None:
        (tmp_path / "vocab.txt").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(UserError, match=said):
        prepare(tmp_path)


@pytest.mark.parametrize("path", ["./nowhere", "~/nowhere/at/all", "/nowhere", "a/b/c"])
def test_a_missing_folder_is_reported_without_the_network(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a wait for the hub where the user meant a folder."""
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *args: pytest.fail("asked the hub"))
    with pytest.raises(UserError, match=r"is not a folder"):
        prepare(path)


def test_a_failing_hub_or_folder_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback of many lines in the place of the remedy."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"cannot load tokenizer\.path") as caught:
        prepare(tmp_path / "empty")
    assert "\n" not in str(caught.value)

    def offline(*args: Any, **kwargs: Any) -> None:
        raise OSError("cannot reach the hub\nmore lines")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", offline)
    with pytest.raises(UserError, match=r"google-bert/x: cannot reach the hub .*tokenizer=wordpiece") as caught:
        prepare("google-bert/x")
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_splits_in_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches the stock RoFormer tokenizer, whose tokenizer.json would split Chinese words in another way."""

    class Jieba:
        def pre_tokenize(self, text: PreTokenizedString) -> None:
            text.split(lambda number, part: [part])

    inner = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    inner.pre_tokenizer = PreTokenizer.custom(Jieba())
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")))
    tokenizer._tokenizer = inner
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *args, **kwargs: tokenizer)
    with pytest.raises(UserError, match=r"splits words in Python .* use another tokenizer"):
        prepare("some/name")


def test_a_slow_tokenizer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches one without the Rust backend, on which the token cache relies."""
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *args, **kwargs: object())
    with pytest.raises(UserError, match=r"not a fast tokenizer"):
        prepare("some/name")
