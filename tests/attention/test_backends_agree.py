"""Every backend against the eager one, with an encoding for each hook, on padded and on packed documents."""

import pytest
import torch

from roformer.attention import ATTENTION_BACKENDS
from roformer.position import POSITION_ENCODINGS
from tests.choices import each_backend, each_backend_with_bias, each_hook_and_backend

pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture(params=["padded", "packed"])
def inputs(request):
    return request.getfixturevalue(request.param)


def real(outputs, inputs):
    """Rows of real tokens, (T, anything), in the order of the documents."""
    return outputs[0] if "cu_seqlens" in inputs else outputs[inputs["attention_mask"].bool()]


def test_every_yaml_has_its_class_and_every_class_its_yaml(attention_settings):
    """Catches a backend that no yaml can choose, a yaml without a class, and a file that is named otherwise."""
    assert sorted(attention_settings) == list(ATTENTION_BACKENDS)
    for name, settings in attention_settings.items():
        assert settings["name"] == name
        assert ATTENTION_BACKENDS[name].__module__ == f"roformer.attention.{name}"


@each_hook_and_backend
@pytest.mark.parametrize("is_decoder", [False, True], ids=["encoder", "decoder"])
def test_same_logits_as_eager(encoding, backend, inputs, tiny_model, is_decoder):
    """Catches a backend that drops or changes the mask, the scale, the rotation or a bias."""
    expected = tiny_model(encoding, attention_backend="eager", is_decoder=is_decoder)(**inputs).logits
    logits = tiny_model(encoding, attention_backend=backend, is_decoder=is_decoder)(**inputs).logits
    torch.testing.assert_close(real(logits, inputs), real(expected, inputs), atol=2e-5, rtol=0)


@each_hook_and_backend
@pytest.mark.parametrize("is_decoder", [False, True], ids=["encoder", "decoder"])
def test_same_gradients_as_eager(encoding, backend, inputs, tiny_model, is_decoder):
    """Catches a backend whose forward pass is right and whose backward pass loses a part."""
    gradients = []
    for name in ("eager", backend):
        model = tiny_model(encoding, attention_backend=name, is_decoder=is_decoder)
        real(model(**inputs).logits, inputs).logsumexp(-1).sum().backward()
        gradients.append({key: parameter.grad for key, parameter in model.named_parameters()})
    assert all(gradient is not None for gradient in gradients[0].values())
    for key, expected in gradients[0].items():
        torch.testing.assert_close(
            gradients[1][key], expected, atol=1e-5 * expected.abs().max().item() + 1e-6, rtol=1e-4
        )


@each_backend
def test_rotary_value_is_honored(backend, inputs, tiny_model):
    """Catches a backend that rotates queries and keys only where the values are to be rotated as well."""
    plain, eager, other = (
        real(tiny_model("rope", rotary_value=rotary, attention_backend=name)(**inputs).logits, inputs)
        for rotary, name in ((False, backend), (True, "eager"), (True, backend))
    )
    torch.testing.assert_close(other, eager, atol=2e-5, rtol=0)
    assert (other - plain).abs().max() > 0.01


@each_hook_and_backend
def test_bfloat16_stays_near_float32(encoding, backend, inputs, tiny_model):
    """Catches a backend that breaks, or loses the mask, in the precision of training on a GPU."""
    model = tiny_model(encoding, attention_backend=backend)
    expected = real(model(**inputs).logits, inputs)
    logits = real(model.to(torch.bfloat16)(**inputs).logits, inputs)
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - expected).norm() < 0.05 * expected.norm()


@each_backend
def test_dropout_acts_in_training_only(backend, inputs, tiny_model):
    """Catches dropout on attention weights that never acts, or that also acts in evaluation."""
    model = tiny_model("rope", attention_backend=backend, attention_probs_dropout_prob=0.5)
    torch.manual_seed(0)
    evaluated = [model(**inputs).logits for _ in range(2)]
    trained = [model.train()(**inputs).logits for _ in range(2)]
    assert torch.equal(*evaluated)
    assert (real(trained[0], inputs) - real(trained[1], inputs)).abs().max() > 0.01


@each_backend_with_bias
def test_mask_and_bias_fit_into_float16(backend, padded, tiny_model):
    """Catches a mask that overflows, whose nan would spread, and a bias in a type that the kernels refuse."""
    mask = padded["attention_mask"].bool()
    model = tiny_model("alibi", attention_backend=backend)
    expected = model(**padded).logits[mask]
    logits = model.half()(**padded).logits[mask]
    assert logits.dtype == torch.float16
    assert (logits.float() - expected).norm() < 0.05 * expected.norm()


def test_sdpa_gets_a_bias_of_its_own_type(tiny_model, padded, monkeypatch):
    """Catches a float32 bias for bfloat16 queries, which the kernels of a GPU refuse and those of a CPU take."""
    types, attention = [], torch.nn.functional.scaled_dot_product_attention

    def watched(query, key, value, *, attn_mask, **more):
        types.append((query.dtype, attn_mask.dtype))
        return attention(query, key, value, attn_mask=attn_mask, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    tiny_model("alibi", attention_backend="sdpa").bfloat16()(**padded)
    assert set(types) == {(torch.bfloat16, torch.bfloat16)}


@each_backend_with_bias
def test_each_layer_asks_for_its_own_bias(backend, tiny_model, packed, monkeypatch):
    """Catches a layer number that is always 0, or a layer that does not ask."""
    layers, alibi = [], POSITION_ENCODINGS["alibi"]
    score_bias = alibi.score_bias

    def watched(self, *tensors, layer):
        layers.append(layer)
        return score_bias(self, *tensors, layer=layer)

    monkeypatch.setattr(alibi, "score_bias", watched)
    tiny_model("alibi", attention_backend=backend)(packed["input_ids"])
    assert layers == [0, 1]
