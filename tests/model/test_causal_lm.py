"""The decoder: what it sees, its loss, and text that grows with a cache, by transformers' ``generate()``."""

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, DynamicCache

from roformer.errors import UserError
from roformer.model import (
    RoFormerForCausalLM,
    RoFormerForMaskedLM,
    RoFormerForSequenceClassification,
    RoFormerLabConfig,
)
from tests.choices import each_encoding, each_hook_and_backend

pytestmark = pytest.mark.usefixtures("small_blocks")

NEW = 12


@pytest.fixture
def decoder(tiny_model):
    """Builds a model that writes from left to right."""

    def build(name="rope", **config):
        return tiny_model(name, model_class=RoFormerForCausalLM, is_decoder=True, **config)

    return build


@pytest.fixture(scope="module")
def prompts():
    return torch.randint(1, 60, (3, 5), generator=torch.Generator().manual_seed(2))


def written(model, prompts, **settings):
    """(B, L) tokens of the continued prompts, drawn, and the logits of each new one, (B, new, V)."""
    torch.manual_seed(0)
    outputs = model.generate(
        prompts,
        max_new_tokens=NEW,
        eos_token_id=None,
        return_dict_in_generate=True,
        output_logits=True,
        do_sample=True,
        **settings,
    )
    return outputs.sequences, torch.stack(outputs.logits, dim=1)


@each_hook_and_backend
def test_later_tokens_change_nothing_before_them(encoding, backend, decoder, packed):
    """Catches a token that sees the future, its own document's or another's."""
    model, bounds = decoder(encoding, attention_backend=backend), packed["cu_seqlens"]
    start, stop = bounds[6:8].tolist()
    other = packed["input_ids"].clone()
    other[0, stop - 3 : stop] = other[0, stop - 3 : stop].flip(0)
    first, second = (model(ids, cu_seqlens=bounds).logits[0] for ids in (packed["input_ids"], other))
    same = torch.ones(len(first), dtype=torch.bool)
    same[stop - 3 : stop] = False
    torch.testing.assert_close(first[same], second[same], atol=1e-6, rtol=0)
    assert (first[stop - 1] - second[stop - 1]).abs().max() > 0.01
    assert start < stop - 3


@each_hook_and_backend
def test_packed_is_padded_is_one_document_at_a_time(encoding, backend, decoder, documents, packed, padded):
    """Catches a causal mask over the whole row instead of each document."""
    model = decoder(encoding, attention_backend=backend)
    alone = torch.cat([model(document[None]).logits[0] for document in documents])
    torch.testing.assert_close(model(**packed).logits[0], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(model(**padded).logits[padded["attention_mask"].bool()], alone, atol=1e-5, rtol=0)


@each_hook_and_backend
def test_cache_changes_nothing(encoding, backend, decoder, prompts):
    """Catches keys turned to the wrong place, or to one that moves as the text grows, and a bias of other rows."""
    model = decoder(encoding, attention_backend=backend)
    tokens, logits = written(model, prompts)
    others, expected = written(model, prompts, use_cache=False)
    assert torch.equal(tokens, others)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    again = model(tokens).logits[:, prompts.shape[1] - 1 : -1]
    torch.testing.assert_close(logits, again, atol=1e-4, rtol=0)


@each_hook_and_backend
def test_cache_may_grow_by_several_tokens(encoding, backend, decoder, prompts):
    """Catches a causal mask that is right for one new token only."""
    model, cache = decoder(encoding, attention_backend=backend), DynamicCache()
    parts = [model(part, past_key_values=cache).logits for part in prompts.split((2, 3), dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(prompts).logits, atol=1e-5, rtol=0)


@each_hook_and_backend
def test_left_padding_changes_nothing(encoding, backend, decoder, prompts):
    """Catches positions that count the padding, and padding that is seen."""
    model = decoder(encoding, attention_backend=backend)
    tokens, logits = written(model, prompts)
    left = F.pad(prompts, (4, 0))
    others, padded = written(model, left, attention_mask=(left > 0).long())
    assert torch.equal(others[:, 4:], tokens)
    torch.testing.assert_close(padded, logits, atol=1e-4, rtol=0)


def test_beams_are_the_best_of_all_texts(decoder, prompts):
    """Catches a cache that is not reordered with its beams: with as many beams as texts the search is exhaustive."""
    model = decoder(vocab_size=6)
    prompt = prompts[:1] % 5 + 1
    found = model.generate(prompt, max_new_tokens=3, num_beams=216, do_sample=False, eos_token_id=None)
    texts = torch.cartesian_prod(*[torch.arange(6)] * 3)
    whole = torch.cat((prompt.expand(len(texts), -1), texts), dim=1)
    scores = model(whole).logits[:, 4:-1].log_softmax(-1).gather(-1, texts[..., None]).sum((1, 2))
    assert torch.equal(found[0, 5:], texts[scores.argmax()])


def test_loss_is_that_of_the_next_token(decoder, packed, padded):
    """Catches labels that are not shifted, or shifted twice, and predictions across two documents."""
    model = decoder()
    for inputs in (packed, padded):
        labels = inputs["input_ids"].clone()
        labels[labels == 0] = -100
        if "cu_seqlens" in inputs:
            labels[:, inputs["cu_seqlens"][:-1]] = -100
        outputs = model(**inputs, labels=labels)
        log_probabilities = outputs.logits[:, :-1].log_softmax(-1)
        chosen = labels[:, 1:] != -100
        expected = -log_probabilities[chosen].gather(-1, labels[:, 1:][chosen][:, None])
        torch.testing.assert_close(outputs.loss, expected.mean())
        sparse = model(**inputs, labels=labels, sparse_prediction=True, num_items_in_batch=7)
        torch.testing.assert_close(sparse.logits, outputs.logits[:, :-1][chosen])
        torch.testing.assert_close(sparse.loss, expected.sum() / 7)


def test_some_last_logits(decoder, prompts):
    """Catches logits of other tokens than the last."""
    model = decoder()
    torch.testing.assert_close(model(prompts, logits_to_keep=2).logits, model(prompts).logits[:, -2:])


@each_encoding
def test_saved_and_loaded(encoding, decoder, prompts, tmp_path):
    """Catches a decoder that comes back as an encoder, or under another class."""
    model = decoder(encoding)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded) is RoFormerForCausalLM
    assert torch.equal(loaded(prompts).logits, model(prompts).logits)


def test_output_may_be_a_tuple(decoder, prompts):
    """Catches a model that transformers' own tools cannot ask for plain tuples."""
    logits, *_ = decoder()(prompts, return_dict=False)
    assert logits.shape == (3, 5, 60)


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"cu_seqlens": torch.tensor([0, 5])}, "not packed"),
        ({"attention_mask": torch.ones(1, 5)}, r"attention_mask must be \(1, 8\)"),
        ({"position_ids": torch.arange(8)[None]}, r"position_ids must be \(1, 5\)"),
    ],
    ids=["packed", "mask", "positions"],
)
def test_inputs_that_do_not_fit_the_cache(decoder, prompts, inputs, named):
    """Catches inputs of the new tokens only, or of all, where the others are meant."""
    model, cache = decoder(), DynamicCache()
    model(prompts[:1, :3], past_key_values=cache)
    with pytest.raises(UserError, match=named):
        model(prompts[:1], past_key_values=cache, **inputs)


def test_what_a_decoder_cannot_be(tiny_model, decoder, prompts):
    """Catches a language model that sees what it predicts, and a classifier that reads a token that saw nothing."""
    with pytest.raises(UserError, match="is_decoder=True"):
        RoFormerForCausalLM(RoFormerLabConfig())
    with pytest.raises(UserError, match="use RoFormerForCausalLM"):
        RoFormerForMaskedLM(RoFormerLabConfig(is_decoder=True))
    with pytest.raises(UserError, match="pooling='mean'"):
        tiny_model(model_class=RoFormerForSequenceClassification, is_decoder=True)
    with pytest.raises(UserError, match="is_decoder"):
        tiny_model().roformer(prompts, past_key_values=DynamicCache())
    with pytest.raises(UserError, match="give labels"):
        decoder()(prompts, sparse_prediction=True)
