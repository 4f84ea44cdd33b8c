"""RoPE against the implementations that come with transformers: Llama, GPT-NeoX, GPT-J and stock RoFormer."""

import pytest
import torch
from transformers import GPTNeoXConfig, LlamaConfig
from transformers.models.gpt_neox import modeling_gpt_neox
from transformers.models.gptj import modeling_gptj
from transformers.models.llama import modeling_llama
from transformers.models.roformer.modeling_roformer import RoFormerSelfAttention, RoFormerSinusoidalPositionalEmbedding

from roformer.position import POSITION_ENCODINGS, ModelShape

HEADS, SIZE = 3, 16
SHAPE = ModelShape(hidden_size=HEADS * SIZE, num_attention_heads=HEADS)
POSITIONS = {
    "whole": torch.tensor([[0, 1, 2, 3, 4], [3, 90, 7, 0, 33]]),
    "fractional": torch.tensor([[0.0, 0.5, 2.5, 3.25, 4.0], [1.75, 90.5, 7.0, 0.25, 33.125]]),
}


@pytest.fixture
def query_and_key():
    """Two (B, H, L, D) tensors."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, HEADS, 5, SIZE, generator=generator).unbind(0)


def rope(**settings):
    return POSITION_ENCODINGS["rope"](SHAPE, **settings)


def assert_same(ours, theirs):
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, atol=3e-5, rtol=0)


@pytest.mark.parametrize("positions", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("base", [100.0, 10_000.0, 500_000.0])
def test_half_layout_is_llamas(query_and_key, positions, base):
    """Catches wrong frequencies, a wrong sign, wrong pairs, a base that is not used, positions cut to integers."""
    config = LlamaConfig(
        hidden_size=HEADS * SIZE,
        num_attention_heads=HEADS,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )
    cos, sin = modeling_llama.LlamaRotaryEmbedding(config)(query_and_key[0], positions)
    expected = modeling_llama.apply_rotary_pos_emb(*query_and_key, cos, sin)
    assert_same(rope(rope_theta=base, layout="half")(*query_and_key, positions), expected)


@pytest.mark.parametrize("positions", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0])
def test_partial_half_layout_is_gpt_neoxs(query_and_key, positions, factor):
    """Catches frequencies of the head size instead of the rotated part, and the wrong channels left alone."""
    parameters = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": factor}
    config = GPTNeoXConfig(hidden_size=HEADS * SIZE, num_attention_heads=HEADS, rope_parameters=parameters)
    cos, sin = modeling_gpt_neox.GPTNeoXRotaryEmbedding(config)(query_and_key[0], positions)
    expected = modeling_gpt_neox.apply_rotary_pos_emb(*query_and_key, cos, sin)
    assert_same(rope(layout="half", partial_rotary_factor=factor)(*query_and_key, positions), expected)


@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_interleaved_layout_is_gpt_js(query_and_key, factor):
    """Catches wrong pairs or a wrong sign in the paper's layout, with and without channels left alone."""
    rotated = int(factor * SIZE)
    table = modeling_gptj.create_sinusoidal_positions(100, rotated)[POSITIONS["whole"]]
    sin, cos = table.chunk(2, dim=-1)

    def expected(x):
        turned = modeling_gptj.apply_rotary_pos_emb(x[..., :rotated].transpose(1, 2), sin, cos).transpose(1, 2)
        return torch.cat((turned, x[..., rotated:]), dim=-1)

    ours = rope(layout="interleaved", partial_rotary_factor=factor)(*query_and_key, POSITIONS["whole"])
    assert_same(ours, map(expected, query_and_key))


def test_defaults_are_stock_roformers(query_and_key):
    """Catches defaults that are not the paper's."""
    table = RoFormerSinusoidalPositionalEmbedding(100, SIZE)
    table.weight.copy_(table.create_weight())
    angles = table.weight[POSITIONS["whole"]][:, None]
    expected = RoFormerSelfAttention.apply_rotary_position_embeddings(angles, *query_and_key)
    assert_same(rope()(*query_and_key, POSITIONS["whole"]), expected)


def test_frequencies_are_those_of_equation_15():
    """Catches an exponent that is off by one pair: with D = 4 and base 100 the angles at position 1 are 1 and 1/10."""
    (turns,) = POSITION_ENCODINGS["rope"](ModelShape(hidden_size=4), rope_theta=100.0).prepare(torch.tensor([[1]]))
    torch.testing.assert_close(turns.angle().flatten(), torch.tensor([1.0, 0.1]))
