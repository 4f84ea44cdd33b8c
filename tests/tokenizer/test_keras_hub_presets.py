"""Tokenizers of keras-hub's presets; ``fixtures/keras_hub/write.py`` wrote them and the numbers that they give."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from roformer.errors import UserError
from roformer.tokenizer.pretrained import load_tokenizer

FIXTURES = Path(__file__).parents[1] / "fixtures" / "keras_hub"


@pytest.mark.parametrize("name", ["masked_lm", "with_capitals", "without_accents"])
def test_every_text_has_the_numbers_of_keras_hub(name, tmp_path):
    """Catches another folding of case, accents or full-width signs, other cuts, or another frame of a pair; also after
    an export."""
    expected = json.loads((FIXTURES / name / "expected.json").read_text(encoding="utf-8"))
    load_tokenizer(str(FIXTURES / name)).save_pretrained(tmp_path)
    for tokenizer in (load_tokenizer(str(FIXTURES / name)), AutoTokenizer.from_pretrained(tmp_path)):
        for text, numbers in expected["texts"].items():
            assert tokenizer(text, add_special_tokens=False)["input_ids"] == numbers, text
        pair = tokenizer(*expected["pair"], padding="max_length", max_length=20)
        assert pair["input_ids"] == expected["token_ids"]
        assert pair["token_type_ids"] == expected["segment_ids"]
        assert tokenizer.convert_tokens_to_ids(tokenizer.mask_token) == 4


def refusal(folder):
    with pytest.raises(UserError) as error:
        load_tokenizer(str(folder))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_tokenizer_that_cannot_be_read(tmp_path):
    """Catches a traceback, or another tokenizer that is taken for RoFormerV2's."""
    folder = Path(shutil.copytree(FIXTURES / "masked_lm", tmp_path / "copied"))
    (folder / "assets" / "tokenizer" / "vocabulary.txt").unlink()
    assert "assets/tokenizer/vocabulary.txt is missing; copy it there" in refusal(folder)
    file = folder / "tokenizer.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "config": {**stored["config"], "split": False}}))
    assert "a RoformerV2Tokenizer that splits words is read" in refusal(folder)
    file.write_text(json.dumps({**stored, "class_name": "GPT2Tokenizer"}))
    assert "tokenizer.json is of keras-hub's GPT2Tokenizer" in refusal(folder)
    file.write_text(json.dumps({**stored, "config": {}}))
    assert "cannot load tokenizer.path=" in refusal(folder)
    file.write_text("{")
    assert "cannot load tokenizer.path=" in refusal(folder)
