"""One token a byte."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from roformer.data import SOURCES
from roformer.tokenizer import TOKENIZERS
from roformer.tokenizer.bytes import is_byte_level

TEXTS = ["plain ASCII, twice  blank\n\tand a tab", "Grüße, 天地玄黃, \U0001f989", "\x00\x7f[MASK] is text", ""]


@pytest.fixture
def tokenizer():
    source = SOURCES.build({"name": "docs", "packages": ["rich"], "min_characters": 1})
    return TOKENIZERS.build({"name": "bytes"}).prepare(
        source, cache_dir=Path("unused"), validation_fraction=0.1, test_fraction=0.1
    )


def encoded(tokenizer, text):
    tokenizer.backend_tokenizer.encode_special_tokens = True  # as the token cache does
    return tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_has_as_many_tokens_as_bytes(tokenizer, text):
    """Catches blanks that are added or lost, and characters that become one token or [UNK]."""
    ids = encoded(tokenizer, text)
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert not set(ids) & set(tokenizer.all_special_ids)


def test_saved_and_loaded(tokenizer, tmp_path):
    """Catches a vocabulary that changes on its way through the disk."""
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert len(loaded) == 5 + 256
    assert [encoded(loaded, text) for text in TEXTS] == [encoded(tokenizer, text) for text in TEXTS]
    assert is_byte_level(loaded)
