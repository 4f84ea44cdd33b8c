"""What the encoder takes and gives: embeddings instead of tokens, token types, weights, hidden states, refusals."""

import pytest
import torch

from roformer.errors import UserError
from roformer.model import RoFormerModel
from roformer.position import POSITION_ENCODINGS
from tests.choices import each_backend, each_encoding

pytestmark = pytest.mark.usefixtures("small_blocks")

TOKENS = torch.arange(1, 13)[None]


@pytest.fixture
def encoder(tiny_model):
    def build(name="rope", **config):
        return tiny_model(name, model_class=RoFormerModel, **config)

    return build


@each_encoding
def test_embeddings_instead_of_tokens(encoding, tiny_model):
    """Catches inputs_embeds that skip token types or positions."""
    model = tiny_model(encoding, embedding_size=16)
    embedded = model.get_input_embeddings()(TOKENS)
    assert torch.equal(model(inputs_embeds=embedded).logits, model(TOKENS).logits)


@pytest.mark.parametrize("inputs", [{}, {"input_ids": TOKENS, "inputs_embeds": torch.zeros(1, 12, 32)}])
def test_either_tokens_or_embeddings(inputs, encoder):
    """Catches one of the two being ignored in silence."""
    with pytest.raises(UserError, match="give either input_ids or inputs_embeds"):
        encoder()(**inputs)


def test_token_types_matter_and_default_to_zero(encoder):
    """Catches token types that are not added, and another default than type 0."""
    model = encoder()
    plain = model(TOKENS).last_hidden_state
    torch.testing.assert_close(model(TOKENS, token_type_ids=torch.zeros_like(TOKENS)).last_hidden_state, plain)
    assert (model(TOKENS, token_type_ids=torch.ones_like(TOKENS)).last_hidden_state - plain).abs().max() > 0.01


@each_backend
def test_hidden_states(backend, encoder):
    """Catches a list that lacks the embeddings or a layer, or ends with something else than the output."""
    model = encoder(attention_backend=backend)
    outputs = model(TOKENS, output_hidden_states=True)
    assert len(outputs.hidden_states) == 3
    assert torch.equal(outputs.hidden_states[-1], outputs.last_hidden_state)
    embedded = model.embeddings(model.get_input_embeddings()(TOKENS), None, model.position, torch.arange(12)[None])
    assert torch.equal(outputs.hidden_states[0], embedded)
    assert not torch.equal(outputs.hidden_states[1], outputs.hidden_states[2])
    assert model(TOKENS).hidden_states is None


def test_hidden_states_by_configuration(encoder):
    """Catches a configured wish that is not read, and one that a call cannot overrule."""
    model = encoder(output_hidden_states=True)
    assert len(model(TOKENS).hidden_states) == 3
    assert model(TOKENS, output_hidden_states=False).hidden_states is None


@each_backend
@pytest.mark.parametrize("is_decoder", [False, True], ids=["encoder", "decoder"])
def test_softmax_backends_return_the_weights_of_eager(backend, is_decoder, encoder, padded):
    """Catches a backend without weights that is asked for them, and weights that are not those of its output."""
    given, expected = (
        encoder(attention_backend=name, is_decoder=is_decoder)(**padded, output_attentions=True)
        for name in (backend, "eager")
    )
    for weights, others in zip(given.attentions, expected.attentions, strict=True):
        torch.testing.assert_close(weights, others)
    plain = encoder(attention_backend=backend, is_decoder=is_decoder)(**padded).last_hidden_state
    torch.testing.assert_close(given.last_hidden_state, plain, atol=1e-5, rtol=0)


def test_using_another_position_encoding(encoder, position_settings):
    """Catches an encoding that is not used, or stays after the block or an error in it, or cannot be honored."""
    model = encoder()
    before = model(TOKENS).last_hidden_state
    other = POSITION_ENCODINGS.build({**position_settings["rope"], "rope_theta": 10.0}, model.config.shape)
    with model.using_position(other):
        within = model(TOKENS).last_hidden_state
    expected = encoder(settings={"rope_theta": 10.0})(TOKENS).last_hidden_state
    torch.testing.assert_close(within, expected)
    with pytest.raises(RuntimeError, match="in the block"), model.using_position(other):
        raise RuntimeError("in the block")
    assert torch.equal(model(TOKENS).last_hidden_state, before)
    linear = encoder(attention_backend="linear")
    alibi = POSITION_ENCODINGS.build(position_settings["alibi"], model.config.shape)
    with pytest.raises(UserError, match="no scores"), linear.using_position(alibi):
        pass


@each_encoding
def test_eager_returns_weights(encoding, encoder, padded):
    """Catches scores in place of weights, weights on padding, and a list that is not one entry a layer."""
    outputs = encoder(encoding, attention_backend="eager")(**padded, output_attentions=True)
    batch, length = padded["input_ids"].shape
    assert [tuple(weights.shape) for weights in outputs.attentions] == 2 * [(batch, 4, length, length)]
    for weights in outputs.attentions:
        torch.testing.assert_close(weights.sum(-1), torch.ones(batch, 4, length))
        padding = (padded["attention_mask"] == 0)[:, None, None].expand_as(weights)
        assert weights[padding].max() == 0
        assert weights.min() >= 0
        assert weights.std() > 0.01


@pytest.mark.parametrize("backend", ["linear", "eager"])
def test_weights_are_refused_where_there_are_none(backend, encoder, packed):
    """Catches a None, or an empty list, for weights that were asked for."""
    inputs = packed if backend == "eager" else {"input_ids": TOKENS}
    with pytest.raises(UserError, match="output_attentions needs softmax attention, padded, not packed"):
        encoder(attention_backend=backend)(**inputs, output_attentions=True)


@pytest.mark.parametrize("shape", [(12,), (1, 11), (2, 12), (4, 12), (1, 12, 1), (3, 1)], ids=str)
def test_positions_of_another_shape_are_refused(shape, encoder):
    """Catches positions that broadcast to something that nobody meant."""
    with pytest.raises(UserError, match=r"position_ids must be \(3, 12\), got"):
        encoder()(TOKENS.repeat(3, 1), position_ids=torch.zeros(shape, dtype=torch.long))


@each_encoding
def test_negative_positions(encoding, encoder):
    """Catches an index error without a remedy: an offset below zero is fine, except where a table is read."""
    model, positions = encoder(encoding), torch.arange(12)[None] - 5
    if model.position.traits.max_length:
        with pytest.raises(UserError, match="position -5"):
            model(TOKENS, position_ids=positions)
    else:
        assert model(TOKENS, position_ids=positions).last_hidden_state.isfinite().all()


def test_fractional_positions(encoder):
    """Catches positions that are cut to integers on the way through the model."""
    model, positions = encoder(), torch.arange(12)[None] / 2
    halves = model(TOKENS, position_ids=positions).last_hidden_state
    torch.testing.assert_close(
        model(TOKENS, position_ids=positions + 2.25).last_hidden_state, halves, atol=1e-4, rtol=0
    )
    whole = model(TOKENS, position_ids=positions.long()).last_hidden_state
    assert (halves - whole).abs().max() > 0.01


@each_encoding
def test_evaluation_has_no_dropout(encoding, encoder):
    """Catches dropout that a switched-off model keeps, and one that a training model lacks."""
    model = encoder(encoding, hidden_dropout_prob=0.3)
    torch.manual_seed(0)
    assert torch.equal(model(TOKENS).last_hidden_state, model(TOKENS).last_hidden_state)
    model.train()
    assert not torch.equal(model(TOKENS).last_hidden_state, model(TOKENS).last_hidden_state)
