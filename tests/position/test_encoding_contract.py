"""What every encoding in conf/position promises, whatever it does inside."""

import dataclasses
import inspect

import torch

from roformer.position import POSITION_ENCODINGS, ModelShape, PositionEncoding
from tests.choices import each_encoding

TOKENS = torch.arange(1, 13)[None]  # (1, 12), all different
ROUNDING, VISIBLE = 2e-5, 2e-3  # in logits whose standard deviation is about 2


def change(first, second):
    return (first - second).abs().max().item()


def test_every_yaml_has_its_class_and_every_class_its_yaml(position_settings):
    """Catches an encoding that no yaml can choose, a yaml without a class, and a file that is named otherwise."""
    assert sorted(position_settings) == list(POSITION_ENCODINGS)
    for name, settings in position_settings.items():
        assert settings["name"] == name
        assert POSITION_ENCODINGS[name].__module__ == f"roformer.position.{name}"


@each_encoding
def test_yaml_states_the_defaults(encoding, position_settings):
    """Catches a default that is changed in the yaml but not in the code, or the other way round."""
    parameters = inspect.signature(POSITION_ENCODINGS[encoding]).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    stated = {key: value for key, value in position_settings[encoding].items() if key != "name"}
    assert list(stated) == list(defaults)
    for key, default in defaults.items():
        assert stated[key] == default or default is inspect.Parameter.empty


@each_encoding
def test_token_order_matters(encoding, tiny_model):
    """Catches an encoding that is wired in but does nothing; and, for ``none``, positions from elsewhere."""
    model = tiny_model(encoding)
    swapped = TOKENS[:, [0, 11, *range(2, 11), 1]]
    difference = change(model(TOKENS).logits[:, 0], model(swapped).logits[:, 0])
    assert difference < ROUNDING if encoding == "none" else difference > VISIBLE


@each_encoding
def test_shift_changes_nothing_exactly_if_shift_invariant(encoding, tiny_model):
    """Catches a wrong claim of invariance: a query rotated but not its key, position_ids that are ignored."""
    model = tiny_model(encoding, max_position_embeddings=2048)
    positions = torch.arange(12)[None]
    difference = change(
        model(TOKENS, position_ids=positions).logits, model(TOKENS, position_ids=positions + 2030).logits
    )
    invariant = model.roformer.position.traits.shift_invariant
    assert difference < ROUNDING if invariant else difference > VISIBLE


@each_encoding
def test_distances_matter(encoding, tiny_model):
    """Catches position_ids that are accepted but not used: wider gaps are another text, except to these two."""
    model = tiny_model(encoding)
    positions = torch.arange(12)[None]
    difference = change(model(TOKENS, position_ids=positions).logits, model(TOKENS, position_ids=3 * positions).logits)
    assert difference < ROUNDING if encoding in ("none", "cope") else difference > VISIBLE


@each_encoding
def test_positions_count_from_zero_if_not_given(encoding, tiny_model):
    """Catches default positions that start at 1, or that differ between the rows of a batch."""
    model = tiny_model(encoding)
    rows = TOKENS.repeat(3, 1)
    expected = model(TOKENS, position_ids=torch.arange(12)[None]).logits
    assert change(model(rows).logits, expected) < ROUNDING
    assert change(model(rows, position_ids=torch.arange(12).expand(3, 12)).logits, expected) < ROUNDING
    assert change(model(rows, position_ids=torch.arange(12)[None]).logits, expected) < ROUNDING


@each_encoding
def test_each_row_has_its_own_positions(encoding, tiny_model):
    """Catches positions of the first row that are used for the whole batch."""
    model = tiny_model(encoding)
    positions = torch.stack((torch.arange(12), 3 * torch.arange(12), torch.arange(12).flip(0)))
    together = model(TOKENS.repeat(3, 1), position_ids=positions).logits
    alone = torch.cat([model(TOKENS, position_ids=row[None]).logits for row in positions])
    assert change(together, alone) < ROUNDING


@each_encoding
def test_last_queries_have_the_bias_of_the_whole(encoding, position_settings, visible_weights):
    """Catches a bias that takes the last queries of a growing text for its first, and values that do."""
    shape = ModelShape(hidden_size=32, num_attention_heads=4, causal=True)
    module = visible_weights(POSITION_ENCODINGS.build(position_settings[encoding], shape))
    query, key = torch.randn(2, 1, 4, 12, 8, generator=torch.Generator().manual_seed(0))
    state = module.prepare(3 * torch.arange(12)[None])
    whole, last = (module.score_bias(each, key, state, layer=0) for each in (query, query[:, :, 9:]))
    if whole is not None:
        torch.testing.assert_close(last, whole[:, :, 9:])
    if module.adds_to_values:
        weights = (query @ key.mT).softmax(-1)
        values = module.value_bias(weights, state, layer=0)
        torch.testing.assert_close(module.value_bias(weights[:, :, 9:], state, layer=0), values[:, :, 9:])


@each_encoding
def test_parameters_of_an_encoder_mean_the_same_in_a_decoder(encoding, position_settings, visible_weights):
    """Catches a decoder that starts from an encoder's table of distances and reads it as another."""
    sizes = {"hidden_size": 32, "num_attention_heads": 4}
    encoder, decoder = (
        visible_weights(POSITION_ENCODINGS.build(position_settings[encoding], ModelShape(**sizes, causal=causal)))
        for causal in (False, True)
    )
    decoder.load_state_dict(encoder.state_dict(), strict=False)
    query, key = torch.randn(2, 1, 4, 40, 8, generator=torch.Generator().manual_seed(0))
    positions = torch.arange(40)[None]
    biases = [each.score_bias(query, key, each.prepare(positions), layer=0) for each in (encoder, decoder)]
    if biases[0] is not None:
        before = torch.ones(40, 40, dtype=torch.bool).tril()
        same = change(*(bias.expand(1, 4, 40, 40)[..., before] for bias in biases)) < ROUNDING
        assert same == (encoder.traits.causal == "same_parameters")


@each_encoding
def test_every_number_in_the_yaml_matters(encoding, position_settings):
    """Catches a setting that is stored and then ignored, as stock RoFormer ignores rope_theta."""
    shape = ModelShape(hidden_size=128, num_attention_heads=2, max_position_embeddings=2048)
    positions = torch.arange(0, 1200, 50)[None]
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 2, positions.shape[1], 64, generator=generator)

    def effect(settings):
        torch.manual_seed(0)
        module = POSITION_ENCODINGS.build(settings, shape)
        state = module.prepare(positions)
        turned = module.rotate(query, state), module.rotate_key(key, state)
        bias = module.score_bias(*turned, state, layer=0)
        scores = turned[0] @ turned[1].mT + (0 if bias is None else bias)
        return torch.cat(
            (scores.flatten(), module.embed(torch.zeros(1, positions.shape[1], 128), positions).flatten())
        )

    expected = effect(position_settings[encoding])
    for key_of, value in position_settings[encoding].items():
        if isinstance(value, float):
            assert change(expected, effect({**position_settings[encoding], key_of: value / 2})) > VISIBLE, key_of


@each_encoding
def test_state_can_be_cut_by_token(encoding, position_settings):
    """Catches a state of another shape than (B or 1, H or 1, L, anything), which packing could not cut."""
    module = POSITION_ENCODINGS.build(position_settings[encoding], ModelShape(hidden_size=32, num_attention_heads=4))
    for batch in (1, 3):
        for table in module.prepare(torch.arange(7).expand(batch, 7)):
            assert table.dim() == 4
            assert (table.shape[0] in (1, batch), table.shape[1] in (1, 4), table.shape[2]) == (True, True, 7)


def test_a_wrapper_forwards_every_hook():
    """Catches a hook that a wrapper forgets: the encoding inside would lose it in silence."""
    hooks = {name for name in vars(PositionEncoding) if not name.startswith("_")} - {"scales", "counted", "lengths"}
    assert hooks == hooks & vars(POSITION_ENCODINGS["randomized"]).keys()
    assert hooks >= {"traits", "adds_to_scores", "embed", "prepare", "rotate", "score_bias", "softmax_scale"}


@each_encoding
def test_a_wrapper_has_the_traits_of_what_it_wraps(encoding, position_settings):
    """Catches a wrapper that hides what an encoding needs, as the tables of another direction or the weights."""
    if encoding == "randomized":
        return
    shape = ModelShape(hidden_size=32, num_attention_heads=4)
    wrapper = {"name": "randomized", "base_encoding": position_settings[encoding], "max_sampled_position": 99}
    inner, outer = (POSITION_ENCODINGS.build(each, shape).eval() for each in (position_settings[encoding], wrapper))
    assert outer.traits == dataclasses.replace(inner.traits, shift_invariant=False, max_length=99)
    assert (outer.adds_to_scores, outer.adds_to_values) == (inner.adds_to_scores, inner.adds_to_values)
    assert outer.softmax_scale(8) == inner.softmax_scale(8)
