"""RoFormerV2's checkpoints against a reference of its own, written from the description of the model."""

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import RoFormerForMaskedLM as StockRoFormerForMaskedLM

from roformer.errors import UserError
from roformer.model import RoFormerForMaskedLM, RoFormerForSequenceClassification, RoFormerModel

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
CONFIG = {
    **SIZES,
    "architectures": ["RoFormerForMaskedLM"],
    "model_type": "roformer",
    "norm_type": "rms_norm",
    "use_bias": False,
    "embedding_size": 32,
    "hidden_act": "relu",
    "layer_norm_eps": 1e-3,  # of the size of what it is added to, so that it shows
    "type_vocab_size": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "tie_word_embeddings": True,
}
TOKENS = torch.randint(1, 60, (2, 14), generator=torch.Generator().manual_seed(0))
TYPES = (torch.arange(14) > 8).long().expand(2, -1)


def draw_weights(head):
    """Weights by the names of the package ``roformer``."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return 0.3 * torch.randn(*shape, generator=generator)

    weights = {
        "roformer.embeddings.word_embeddings.weight": draw(60, 32),
        "roformer.embeddings.token_type_embeddings.weight": draw(2, 32),
        "roformer.encoder.embed_positions.weight": draw(512, 8),
    }
    for layer in range(2):
        stem = f"roformer.encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            weights[f"{stem}attention.self.{name}.weight"] = draw(32, 32)
        weights[f"{stem}attention.output.dense.weight"] = draw(32, 32)
        weights[f"{stem}intermediate.dense.weight"] = draw(48, 32)
        weights[f"{stem}output.dense.weight"] = draw(32, 48)
    if head == "classifier":
        weights |= {"classifier.dense.weight": draw(32, 32), "classifier.dense.bias": draw(32)}
        weights |= {"classifier.out_proj.weight": draw(3, 32), "classifier.out_proj.bias": draw(3)}
    elif head == "decoder":
        weights["cls.predictions.decoder.weight"] = weights["roformer.embeddings.word_embeddings.weight"].clone()
    return weights


def rms_norm(x):
    return x / (x.pow(2).mean(-1, keepdim=True) + CONFIG["layer_norm_eps"]).sqrt()


def rotated(x):
    """Turns neighboring channels of (B, H, L, D) as complex numbers by the angle of their position."""
    angles = torch.arange(x.shape[-2])[:, None] * 10000.0 ** (-torch.arange(0, x.shape[-1], 2) / x.shape[-1])
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.polar(
        torch.ones_like(angles), angles
    )
    return torch.view_as_real(turned).flatten(-2)


def reference(weights):
    """The output of the last layer, (B, L, C)."""
    stem = "roformer.embeddings."
    x = F.embedding(TOKENS, weights[f"{stem}word_embeddings.weight"])
    x = rms_norm(x + F.embedding(TYPES, weights[f"{stem}token_type_embeddings.weight"]))
    for layer in range(2):
        w = {name.split(f"layer.{layer}.")[-1]: weight.T for name, weight in weights.items() if f"r.{layer}." in name}
        query, key, value = (
            (x @ w[f"attention.self.{name}.weight"]).unflatten(-1, (4, 8)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        shares = (rotated(query) @ rotated(key).transpose(-1, -2) / math.sqrt(8)).softmax(-1)
        x = rms_norm(x + (shares @ value).transpose(1, 2).flatten(2) @ w["attention.output.dense.weight"])
        x = rms_norm(x + (x @ w["intermediate.dense.weight"]).relu() @ w["output.dense.weight"])
    return x


@pytest.fixture
def folder(tmp_path):
    """The function that writes a checkpoint with that head."""

    def write(head="decoder", **changes):
        weights = draw_weights(head)
        save_file(weights, tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **changes}))
        return tmp_path, weights

    return write


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "tied"])
def test_masked_tokens(folder, stored):
    """Catches a norm of the embeddings, an activation, an epsilon, a transform or a bias that V2 does not have."""
    path, weights = folder("decoder" if stored else None)
    model = RoFormerForMaskedLM.from_transformers(path)
    hidden_states = reference(weights)
    with torch.no_grad():
        outputs = model(TOKENS, token_type_ids=TYPES, output_hidden_states=True)
    torch.testing.assert_close(outputs.hidden_states[-1], hidden_states, atol=1e-5, rtol=0)
    expected = hidden_states @ weights["roformer.embeddings.word_embeddings.weight"].T
    torch.testing.assert_close(outputs.logits, expected, atol=1e-5, rtol=0)
    assert len(list(model.parameters())) == 2 + 2 * 4
    assert (model.config.use_bias, model.config.norm_type) == (False, "rms_norm")


def test_classifier(folder):
    """Catches its classifier without the biases, which it has even in V2."""
    path, weights = folder("classifier", architectures=["RoFormerForSequenceClassification"], num_labels=3)
    model = RoFormerForSequenceClassification.from_transformers(path)
    first = reference(weights)[:, 0]
    dense = F.linear(first, weights["classifier.dense.weight"], weights["classifier.dense.bias"]).relu()
    expected = F.linear(dense, weights["classifier.out_proj.weight"], weights["classifier.out_proj.bias"])
    with torch.no_grad():
        torch.testing.assert_close(model(TOKENS, token_type_ids=TYPES).logits, expected, atol=1e-5, rtol=0)


def test_the_architecture_survives_a_file(folder, tmp_path):
    """Catches biases and norms that come back when our own export is read."""
    model = RoFormerForMaskedLM.from_transformers(folder()[0])
    model.save_pretrained(tmp_path / "ours")
    with torch.no_grad():
        again = RoFormerForMaskedLM.from_pretrained(tmp_path / "ours")(TOKENS).logits
        assert torch.equal(again, model(TOKENS).logits)


def test_stock_cannot_have_it(folder):
    """Catches an export that transformers opens, and then predicts at random: what it does with V2's own files."""
    path, _ = folder()
    with pytest.raises(UserError, match="norm_type=rms_norm and use_bias=False"):
        RoFormerForMaskedLM.from_transformers(path).to_transformers()
    with pytest.raises(UserError, match="norm_type=rms_norm and use_bias=False"):
        RoFormerModel.from_transformers(path).to_transformers()
    drawn, loaded = StockRoFormerForMaskedLM.from_pretrained(path, output_loading_info=True)
    assert len(loaded["missing_keys"]) > 20
    assert drawn.roformer.embeddings.LayerNorm.weight.shape == (32,)


@pytest.mark.parametrize("changes", [{"norm_type": "batch_norm"}, {"use_bias": True}])
def test_what_is_neither_version(folder, changes):
    """Catches a mixture of both that loads and computes something else."""
    with pytest.raises(UserError, match="RoFormer with norm_type="):
        RoFormerForMaskedLM.from_transformers(folder(**changes)[0])


def test_narrow_embeddings_without_biases(tiny_model):
    """Catches an output layer that has the embeddings' width and reads hidden states of another one."""
    model = tiny_model(embedding_size=16, use_bias=False, norm_type="rms_norm")
    assert model(torch.arange(12)[None]).logits.shape == (1, 12, 60)
