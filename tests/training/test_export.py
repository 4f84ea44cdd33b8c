"""What a finished run gives to users of transformers."""

import re

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from roformer.training.callbacks import Callback
from tests.tiny_runs import ROOT, weights

LOAD = """
import sys
from transformers import AutoModelForMaskedLM, AutoTokenizer
model, tokenizer = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForMaskedLM, AutoTokenizer))
print(model.num_parameters(), len(tokenizer))
"""


class KeepModel(Callback):
    """Holds the model as training leaves it."""

    def after_step(self, trainer):
        self.model = trainer.unwrapped_model


@pytest.mark.parametrize(
    ("task", "auto_class"), [("mlm", AutoModelForMaskedLM), ("classification", AutoModelForSequenceClassification)]
)
@pytest.mark.parametrize("position", ["rope", "learned"])
def test_the_export_computes_what_was_trained(tiny_runs, tmp_path, task, auto_class, position):
    """Catches weights that get lost on the way: an untied output layer, a table, a head."""
    last = "trainer.early_stopping_patience=null"  # export the last state, which is the one in memory
    trained = KeepModel()
    run = tiny_runs.train(tmp_path / "run", f"position={position}", last, task=task, callbacks=[trained])
    tokenizer = AutoTokenizer.from_pretrained(run / "export")
    exported = auto_class.from_pretrained(run / "export").eval()
    inputs = tokenizer(["The owl stands beside the oak.", "A gull!"], return_tensors="pt", padding=True)
    with torch.no_grad():
        torch.testing.assert_close(exported(**inputs).logits, trained.model.eval()(**inputs).logits, rtol=0, atol=0)
    assert type(exported) is type(trained.model)
    assert exported.config.position["name"] == position


def test_the_tokenizer_is_whole(finished):
    """Catches an exported tokenizer without its special tokens, or with those of another."""
    tokenizer = AutoTokenizer.from_pretrained(finished / "export")
    encoded = tokenizer("the [MASK] stands")["input_ids"]
    assert encoded[0] == tokenizer.cls_token_id
    assert encoded[-1] == tokenizer.sep_token_id
    assert tokenizer.mask_token_id in encoded
    assert len(tokenizer) == weights(finished)["roformer.embeddings.word_embeddings.weight"].shape[0]


@pytest.mark.slow
def test_another_program_reads_it_as_the_readme_says(commands, finished, tmp_path):
    """Catches a model type that transformers does not know, though the README says that its import is enough."""
    (statement,) = set(re.findall(r"^import roformer\S*", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    script = tmp_path / "load.py"
    script.write_text(statement + LOAD)
    command = commands.start_fresh(script, finished / "export").wait()
    assert command.status == 0, command.stderr.read_text()
    parameters = sum(weight.numel() for weight in weights(finished).values())
    vocabulary = len(weights(finished)["head.decoder.bias"])
    assert command.lines == [f"{parameters} {vocabulary}"]


FRAMES = {"mlm": ("{c}a{s}", "right"), "causal_lm": ("{c}a", "left"), "translation": ("a{s}", "right")}


@pytest.mark.parametrize("task", FRAMES)
def test_the_exported_tokenizer_frames_texts_as_training_did(tiny_runs, tmp_path, task):
    """Catches a frame of the tokenizer's own, which no training text had, and padding at the wrong end."""
    lower = ["tokenizer=wordpiece", "tokenizer.vocab_size=300", "tokenizer.alphabet_size=40"]
    run = tiny_runs.train(tmp_path / "run", *(lower if task == "translation" else []), task=task)
    tokenizer = AutoTokenizer.from_pretrained(run / "export")
    frame, side = FRAMES[task]
    expected = frame.format(c="[CLS]", s="[SEP]")
    assert tokenizer.decode(tokenizer("a")["input_ids"]).replace(" ", "") == expected
    assert tokenizer.padding_side == side


def test_a_classifier_frames_pairs_as_it_is_trained(tiny_runs, tmp_path):
    """Catches the frame of the run that it starts from, and a token type that training has not seen."""
    prompts = tiny_runs.train(tmp_path / "decoder", task="causal_lm")
    run = tiny_runs.train(tmp_path / "run", f"init_from={prompts}", task="classification")
    tokenizer = AutoTokenizer.from_pretrained(run / "export")
    pair = tokenizer("a", "b")
    assert tokenizer.decode(pair["input_ids"]).replace(" ", "") == "[CLS]a[SEP]b[SEP]"
    assert not any(pair.get("token_type_ids", []))
    assert tokenizer.padding_side == "right"
