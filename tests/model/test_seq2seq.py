"""Encoder and decoder: what each sees, the loss, and ``generate()`` with cache, padding and beams."""

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForSeq2SeqLM
from transformers.modeling_outputs import BaseModelOutput

from roformer.errors import UserError
from roformer.model import RoFormerForConditionalGeneration, RoFormerLabConfig
from roformer.ops.cross_entropy import mean_loss
from tests.choices import ATTENTION, POSITION, SOFTMAX, each_encoding

TRANSFORMER_BASE = {  # Vaswani et al. 2017, table 3
    "vocab_size": 37_000,
    "hidden_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "hidden_act": "relu",
    "type_vocab_size": 0,
    "normalize_embedding": False,
    "scale_embedding": True,
    "is_encoder_decoder": True,
}
START, END, NEW = 2, 3, 12


@pytest.fixture
def seq2seq(tiny_model):
    """Builds a model of 2 encoder and 3 decoder layers, as Vaswani's but for its size."""

    def build(name="rope", **config):
        shape = {
            key: TRANSFORMER_BASE[key]
            for key in ("hidden_act", "type_vocab_size", "normalize_embedding", "scale_embedding")
        }
        ids = {"decoder_start_token_id": START, "bos_token_id": START, "eos_token_id": END}
        return tiny_model(
            name,
            model_class=RoFormerForConditionalGeneration,
            is_encoder_decoder=True,
            decoder_layers=3,
            **{**shape, **ids, **config},
        )

    return build


@pytest.fixture(scope="module")
def sources():
    """Three texts of 7, 4 and 6 tokens, padded on the right."""
    tokens = torch.randint(4, 60, (3, 7), generator=torch.Generator().manual_seed(3))
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] * 6 + [0]])
    return {"input_ids": tokens * mask, "attention_mask": mask}


@pytest.fixture(scope="module")
def targets():
    """Their targets, as labels."""
    labels = torch.randint(4, 60, (3, 5), generator=torch.Generator().manual_seed(4))
    labels[1, 3:] = -100
    return labels


def written(model, inputs, **settings):
    """Tokens that are drawn, and the logits of each."""
    torch.manual_seed(0)
    outputs = model.generate(
        **inputs, max_new_tokens=NEW, eos_token_id=None, do_sample=True, return_dict_in_generate=True,
        output_logits=True, **settings,
    )  # fmt: skip
    return outputs.sequences, torch.stack(outputs.logits, dim=1)


def test_transformer_base_has_its_size():
    """Catches tables that are not shared, and layers that lack a part or have one too many."""
    model = RoFormerForConditionalGeneration(RoFormerLabConfig(**TRANSFORMER_BASE))
    size, wide = 512, 2048
    attention, norm = 4 * size * (size + 1), 2 * size
    feed_forward = 2 * size * wide + size + wide
    encoder, decoder = attention + feed_forward + 2 * norm, 2 * attention + feed_forward + 3 * norm
    assert model.num_parameters() == 37_000 * size + 6 * (encoder + decoder) == 63_082_496


@pytest.mark.parametrize(
    ("name", "backend"),
    [*((name, "eager") for name in sorted(POSITION)), *(("rope", backend) for backend in sorted(ATTENTION))],
)
def test_cache_and_padding_change_nothing(name, backend, seq2seq, sources):
    """Catches target tokens at a wrong place, keys of the source that are made anew or of other rows, padding of the
    source that is read, and places that count it."""
    model = seq2seq(name, attention_backend=backend)
    tokens, logits = written(model, sources)
    left = {key: torch.stack([row.roll(7 - n) for row, n in zip(rows, (7, 4, 6), strict=True)])
            for key, rows in sources.items()}  # fmt: skip
    for inputs, settings in ((sources, {"use_cache": False}), (left, {})):
        others, expected = written(model, inputs, **settings)
        assert torch.equal(tokens, others)
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    again = model(**sources, decoder_input_ids=tokens).logits[:, :-1]
    torch.testing.assert_close(logits, again, atol=1e-4, rtol=0)
    for row, length in enumerate((7, 4, 6)):
        alone = model(sources["input_ids"][row : row + 1, :length], decoder_input_ids=tokens[row : row + 1]).logits
        torch.testing.assert_close(logits[row], alone[0, :-1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("backend", SOFTMAX)
def test_attention_to_the_source_is_not_rotated(backend, seq2seq, sources, targets):
    """Catches cross-attention that is rotated on one side, or on both: places in two texts do not compare."""
    model = seq2seq(attention_backend=backend)
    calls, rotate = [], model.decoder.position.rotate
    model.decoder.position.rotate = lambda x, state: calls.append(x.shape[2]) or rotate(x, state)
    model(**sources, labels=targets)
    assert set(calls) == {5}


@each_encoding
def test_both_texts_matter_and_the_future_does_not(encoding, seq2seq, sources):
    """Catches a decoder that does not read its source, or reads the target's next token."""
    model = seq2seq(encoding)
    target = torch.arange(4, 12).expand(3, 8)
    expected = model(**sources, decoder_input_ids=target).logits
    later, other = target.clone(), sources["input_ids"].clone()
    later[:, 5:] += 9
    other[:, 0] = 5
    changed = model(**sources, decoder_input_ids=later).logits
    torch.testing.assert_close(changed[:, :5], expected[:, :5], atol=1e-6, rtol=0)
    assert (changed[:, 5:] - expected[:, 5:]).abs().max() > 0.01
    source = model(other, attention_mask=sources["attention_mask"], decoder_input_ids=target).logits
    assert (source - expected).abs().amax((1, 2)).min() > 0.01


def test_loss_is_that_of_the_target(seq2seq, sources, targets):
    """Catches a target that is not shifted, padding that counts, and smoothing where losses are compared."""
    model = seq2seq(label_smoothing=0.1)
    outputs = model(**sources, labels=targets)
    chosen = targets != -100
    log_probabilities = outputs.logits.log_softmax(-1)[chosen]
    expected = -log_probabilities.gather(-1, targets[chosen][:, None]).mean()
    torch.testing.assert_close(outputs.loss, expected)
    decoder_input_ids = torch.cat((torch.full((3, 1), START), targets[:, :-1].where(targets[:, :-1] > 0, 0)), dim=1)
    again = model(**sources, decoder_input_ids=decoder_input_ids).logits
    torch.testing.assert_close(again, outputs.logits)
    sparse = model(**sources, labels=targets, sparse_prediction=True, num_items_in_batch=5)
    torch.testing.assert_close(sparse.logits, outputs.logits[chosen])
    torch.testing.assert_close(sparse.loss, expected * chosen.sum() / 5)
    smoothed = model.train()(**sources, labels=targets).loss
    mean = -log_probabilities.mean()
    torch.testing.assert_close(smoothed, 0.9 * expected + 0.1 * mean)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_loss_and_gradient_are_pytorchs(smoothing):
    """Catches a gradient of our own that is not that of the loss."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 9, dtype=torch.float64, generator=generator, requires_grad=True)
    labels = torch.tensor([0, 3, -100, 8, 2, -100])
    ours = mean_loss(logits, labels, None, smoothing=smoothing)
    theirs = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(2 * loss, logits)[0] for loss in (ours, theirs)))


@pytest.mark.parametrize("use_cache", [True, False])
def test_beams_are_those_of_transformers_on_the_same_scores(seq2seq, sources, use_cache):
    """Catches a cache that is not reordered with its beams: every step of the search is checked against the model's
    own scores of the whole text."""
    model = seq2seq()
    outputs = model.generate(
        **sources, num_beams=4, length_penalty=0.6, max_new_tokens=NEW, do_sample=False, use_cache=use_cache,
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    for row, sequence in enumerate(outputs.sequences):
        ended = (sequence[1:] == END).nonzero()
        length = int(ended[0]) + 1 if len(ended) else len(sequence) - 1
        text = sequence[None, : length + 1]
        source = {key: value[row : row + 1] for key, value in sources.items()}
        log_probabilities = model(**source, decoder_input_ids=text[:, :-1]).logits.log_softmax(-1)
        total = log_probabilities.gather(-1, text[:, 1:, None]).sum()
        torch.testing.assert_close(outputs.sequences_scores[row], total / length**0.6, atol=1e-4, rtol=0)


def test_beams_find_the_best_of_all_texts(seq2seq, sources):
    """Catches a search that loses the best text: with as many beams as texts it is exhaustive."""
    model = seq2seq(vocab_size=6)
    source = {"input_ids": sources["input_ids"][:1] % 5 + 1}
    found = model.generate(
        **source, max_new_tokens=3, num_beams=216, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    texts = torch.cartesian_prod(*[torch.arange(6)] * 3)
    begun = F.pad(texts, (1, 0), value=START)
    logits = model(source["input_ids"].expand(len(texts), -1), decoder_input_ids=begun[:, :-1]).logits
    scores = logits.log_softmax(-1).gather(-1, texts[..., None]).sum((1, 2))
    assert torch.equal(found[0, 1:], texts[scores.argmax()])


@each_encoding
def test_saved_and_loaded(encoding, seq2seq, sources, targets, tmp_path):
    """Catches tables that are no longer shared, or parts that come back unset."""
    model = seq2seq(encoding)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert type(loaded) is RoFormerForConditionalGeneration
    assert torch.equal(loaded(**sources, labels=targets).logits, model(**sources, labels=targets).logits)
    table = loaded.get_input_embeddings().weight
    assert loaded.lm_head.weight is table
    assert loaded.decoder.embeddings.word_embeddings.weight is table


@pytest.mark.parametrize("form", [tuple, list, BaseModelOutput])
def test_source_may_be_encoded_before(form, seq2seq, sources, targets):
    """Catches an encoder that runs again, a form of its output that is not read, and a mask that is lost."""
    model = seq2seq()
    encoded = model.encoder(**sources).last_hidden_state
    encoded = BaseModelOutput(encoded) if form is BaseModelOutput else form([encoded])
    model.encoder.forward = None
    given = model(encoder_outputs=encoded, attention_mask=sources["attention_mask"], labels=targets)
    model.encoder.__dict__.pop("forward")
    torch.testing.assert_close(given.logits, model(**sources, labels=targets).logits)


def test_embeddings_instead_of_tokens(seq2seq, sources, targets):
    """Catches embeddings of the target, as PEFT gives them, that are refused or not read."""
    model, target = seq2seq(), targets.clamp(min=0)
    expected = model(**sources, decoder_input_ids=target).logits
    embed, mask = model.get_input_embeddings(), sources["attention_mask"]
    given = {"inputs_embeds": embed(sources["input_ids"]), "decoder_inputs_embeds": embed(target)}
    torch.testing.assert_close(model(**given, attention_mask=mask).logits, expected)
    torch.testing.assert_close(model(**sources, decoder_inputs_embeds=embed(target)).logits, expected)
    with pytest.raises(UserError, match="either input_ids or inputs_embeds"):
        model(**sources, decoder_input_ids=target, decoder_inputs_embeds=embed(target))


@pytest.mark.parametrize("by", ["argument", "configuration"])
@pytest.mark.parametrize("backend", SOFTMAX)
def test_weights_and_hidden_states_of_both_parts(backend, by, seq2seq, sources, targets):
    """Catches weights of one part only, or of another attention than the one that is named."""
    model, asked = seq2seq(attention_backend=backend), {"output_hidden_states": True}
    if by == "configuration":
        model.config.output_hidden_states = True
    outputs = model(**sources, labels=targets, output_attentions=True, **(asked if by == "argument" else {}))
    shapes = {
        "encoder_attentions": (2, (3, 4, 7, 7)),
        "decoder_attentions": (3, (3, 4, 5, 5)),
        "cross_attentions": (3, (3, 4, 5, 7)),
        "encoder_hidden_states": (3, (3, 7, 32)),
        "decoder_hidden_states": (4, (3, 5, 32)),
    }
    assert {key: (len(outputs[key]), tuple(outputs[key][0].shape)) for key in shapes} == shapes
    assert not outputs.cross_attentions[0][1, :, :, 4:].any()
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    assert not outputs.decoder_attentions[0][:, :, future].any()
    assert model(**sources, labels=targets, output_hidden_states=False).decoder_hidden_states is None


def test_token_types_are_those_of_the_source(seq2seq, sources, targets):
    """Catches token types of the source that are added to the target."""
    model = seq2seq(type_vocab_size=2)
    types = torch.ones_like(sources["input_ids"])
    encoded = model.encoder(**sources, token_type_ids=types)
    expected = model(encoder_outputs=encoded, attention_mask=sources["attention_mask"], labels=targets).logits
    torch.testing.assert_close(model(**sources, token_type_ids=types, labels=targets).logits, expected)
    assert (model(**sources, labels=targets).logits - expected).abs().max() > 0.01


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"position_ids": torch.zeros(3, 7).long()}, "leave position_ids out"),
        ({"cu_seqlens": torch.tensor([0, 5])}, "leave cu_seqlens out"),
        ({"cu_seq_lens_q": torch.tensor([0, 5])}, "leave cu_seq_lens_q out"),
        ({"attention_mask": torch.ones(3, 7, 7).bool()}, r"must be \(batch, length\), got \(3, 7, 7\)"),
    ],
)
def test_packed_pairs_are_refused(given, named, seq2seq, sources, targets):
    """Catches documents of a padding-free batch that see each other in the encoder, in silence."""
    with pytest.raises(UserError, match=named):
        seq2seq()(**{**sources, **given}, labels=targets)


def test_translations_may_be_long(seq2seq):
    """Catches translations cut at transformers' 20 tokens, and ones that leave the table of positions."""
    assert seq2seq().generation_config.max_length == 256
    model = seq2seq("learned", max_position_embeddings=16)
    assert model.generate(torch.tensor([[5, 6]]), eos_token_id=None, do_sample=False).shape == (1, 16)


def test_what_cannot_be(tiny_model, seq2seq, sources):
    """Catches models without one of their halves, and a decoder without anything to read."""
    with pytest.raises(UserError, match="is_encoder_decoder=True"):
        RoFormerForConditionalGeneration(RoFormerLabConfig())
    with pytest.raises(UserError, match="embedding_size 16 is not hidden_size 32"):
        seq2seq(embedding_size=16)
    with pytest.raises(UserError, match="decoder_layers=2 is for an encoder-decoder"):
        RoFormerLabConfig(decoder_layers=2)
    with pytest.raises(UserError, match="decoder_input_ids, or labels"):
        seq2seq()(**sources)
    with pytest.raises(UserError, match="give labels"):
        seq2seq()(**sources, decoder_input_ids=sources["input_ids"], sparse_prediction=True)
    with pytest.raises(UserError, match="decoder_start_token_id"):
        seq2seq(decoder_start_token_id=None)(**sources, labels=sources["input_ids"])
    with pytest.raises(UserError, match="encoder_hidden_states are for models with add_cross_attention"):
        tiny_model(is_decoder=True, add_cross_attention=True)(sources["input_ids"])
    with pytest.raises(UserError, match="no token types"):
        tiny_model(type_vocab_size=0)(sources["input_ids"], token_type_ids=sources["input_ids"])
