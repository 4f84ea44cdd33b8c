"""Byte pairs: any text comes back."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from roformer.data import SOURCES
from roformer.tokenizer import TOKENIZERS


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    source = SOURCES.build({"name": "docs", "packages": ["rich"], "min_characters": 1})
    settings = {"name": "bpe", "vocab_size": 300, "max_characters": 10_000}
    cache_dir = Path(tmp_path_factory.mktemp("cache"))
    return TOKENIZERS.build(settings).prepare(source, cache_dir=cache_dir, validation_fraction=0.1, test_fraction=0.1)


@pytest.mark.parametrize("text", ["A dog sleeps.", "Grüße,  zwei Blanks", "天地 \U0001f989", "a"])
def test_a_text_comes_back(tokenizer, tmp_path, text):
    """Catches a blank before the first word, blanks that are lost, and a decoder that is lost on the disk."""
    tokenizer.save_pretrained(tmp_path)
    for each in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        ids = each(text)["input_ids"]
        assert each.decode(ids) == text
