"""Causal language modeling: what is predicted of a document, and of bytes in which unit."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from roformer.errors import UserError
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.training.warm_start import build_model
from tests.tiny_runs import weights


def pieces(batch):
    """(tokens, labels) of each packed piece."""
    inputs = batch.inputs
    bounds = inputs["cu_seqlens"].tolist()
    return [
        (inputs["input_ids"][0, start:stop].tolist(), inputs["labels"][0, start:stop].tolist())
        for start, stop in pairwise(bounds)
    ]


def test_every_token_is_predicted_and_the_end_of_a_document(make_task):
    """Catches tokens that are never predicted, a [CLS] that is, and a [SEP] in the middle of a document."""
    task = make_task("causal_lm")
    split, begin, end = task.corpus.splits["train"], task.tokenizer.cls_token_id, task.tokenizer.sep_token_id
    found, ended = [], 0
    for batch in (task.batch(step, 1, share=0, shares=1) for step in range(task.rows)):
        for tokens, labels in pieces(batch):
            assert (tokens[0], labels[0], labels[1:]) == (begin, IGNORE_INDEX, tokens[1:])
            text = [token for token in tokens[1:] if token != end]
            ended += len(tokens) - 1 - len(text)
            assert end not in tokens[:-1]
            found += text
    assert sorted(found) == sorted(split.tokens.tolist())
    assert ended == sum(len(split.document(index)) > 0 for index in range(len(split)))
    assert ended < sum(len(pieces(task.batch(step, 1, share=0, shares=1))) for step in range(task.rows))


@pytest.mark.parametrize("task_name", ["mlm", "causal_lm"])
def test_predictions_are_counted_without_making_the_batch(make_task, task_name):
    """Catches a loss that is divided by another number than that of its terms."""
    task = make_task(task_name)
    for step in range(6):
        labels = task.batch(step, 8, share=0, shares=1).inputs["labels"]
        assert task.num_items(step, 8) == int((labels != IGNORE_INDEX).sum())


def test_a_piece_that_ends_with_its_document_is_known_as_such(make_task):
    """Catches an end that is looked for at the wrong place, such as the next document's start."""
    task = make_task("causal_lm")
    offsets = task.corpus.splits["train"].offsets
    start, stop = offsets[1:3]
    spans = np.array([[start, stop], [start, stop - 1], [start + 1, stop]])
    assert task.closes_document("train", spans) == [True, False, True]


def test_bits_a_byte(make_task, tiny_runs):
    """Catches a loss in nats that is called bits, or divided by tokens of several bytes."""
    task = make_task("char_lm")
    assert len(task.tokenizer) == 261
    model = build_model(tiny_runs.config("unused", task="char_lm"), task)
    torch.nn.init.zeros_(model.head.decoder.weight)  # all 261 tokens alike
    metrics = task.evaluate(model, "test")
    assert metrics["test_loss"] == pytest.approx(math.log(261), rel=1e-4)
    assert metrics["test_bits_per_byte"] == pytest.approx(math.log2(261), rel=1e-4)


def test_bits_a_byte_need_bytes(make_task):
    """Catches bits a word piece that are called bits a byte."""
    with pytest.raises(UserError, match="needs tokenizer=bytes"):
        make_task("char_lm", "tokenizer=wordpiece", "tokenizer.vocab_size=300", "tokenizer.alphabet_size=40")


def test_a_decoder_starts_from_an_encoder(tiny_runs, tmp_path):
    """Catches weights that are not taken over, and a decoder that stays an encoder."""
    encoder = tiny_runs.train(tmp_path / "encoder")
    decoder = tiny_runs.train(tmp_path / "decoder", f"init_from={encoder}", "optimizer.learning_rate=1e-12",
                             task="causal_lm")  # fmt: skip
    assert json.loads((decoder / "export" / "config.json").read_text())["is_decoder"]
    for name, weight in weights(encoder).items():
        torch.testing.assert_close(weights(decoder)[name], weight, atol=1e-6, rtol=0)


@pytest.mark.parametrize("task", ["causal_lm", "char_lm"])
def test_an_exported_tokenizer_is_for_prompts(tiny_runs, tmp_path, task):
    """Catches a prompt that ends with [SEP], after which no text has ever gone on, padding between a prompt and what
    follows, and one text's continuation that depends on the others of its batch."""
    export = tiny_runs.train(tmp_path / "decoder", task=task) / "export"
    tokenizer, model = AutoTokenizer.from_pretrained(export), AutoModelForCausalLM.from_pretrained(export)
    prompts = tokenizer(["the cat", "the cat and the dog"], return_tensors="pt", padding=True)
    ids = tokenizer("the cat", add_special_tokens=False)["input_ids"]
    assert prompts["input_ids"][0, -len(ids) - 1 :].tolist() == [tokenizer.cls_token_id, *ids]
    assert not prompts["attention_mask"][0, 0]
    grow = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    alone = model.generate(**tokenizer("the cat", return_tensors="pt"), **grow)
    assert model.generate(**prompts, **grow)[0, -3:].tolist() == alone[0, -3:].tolist()


def test_a_decoder_does_not_start_from_two_sided_distances(tiny_runs, tmp_path):
    """Catches buckets of an encoder, half of them for keys after the query, that a decoder reads as all before it."""
    encoder = tiny_runs.train(tmp_path / "encoder", "position=t5")
    with pytest.raises(UserError, match="trained with bidirectional t5 distances"):
        tiny_runs.train(tmp_path / "decoder", f"init_from={encoder}", task="causal_lm")


def test_a_wrapper_does_not_hide_two_sided_distances(tiny_runs, tmp_path):
    """Catches randomized positions around T5's buckets that start a decoder, which reads the buckets as others."""
    wrapped = ("position=randomized", "position.base_encoding.name=t5", "position.max_sampled_position=64")
    encoder = tiny_runs.train(tmp_path / "encoder", *wrapped)
    with pytest.raises(UserError, match="trained with bidirectional randomized distances"):
        tiny_runs.train(tmp_path / "decoder", f"init_from={encoder}", task="causal_lm")
