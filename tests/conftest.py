"""What tests of several parts share: small models whose weights show effects, and documents to run them on.

A test that asks for ``encoding`` or ``backend`` runs once for every yaml in conf/position, or every one of softmax
attention in conf/attention; the other backends are approximations and operators of their own (``linear_backend``).
"""

import os

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention, blocked, linear
from roformer.config import CONF, TrainConfig
from roformer.model import RoFormerConfig, RoFormerForCausalLM, RoFormerForMaskedLM


def choices(group):
    """The file names of a config group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


GIVEN_ENVIRONMENT = dict(os.environ)  # before pytest_configure
POSITION = {name: TrainConfig.compose(f"position={name}").position for name in choices("position")}
ATTENTION = {name: {"name": name} for name in choices("attention") if name != "auto"}
SOFTMAX = [name for name in ATTENTION if issubclass(ATTENTION_BACKENDS[name], SoftmaxAttention)]
LENGTHS = (1, 5, 5, 5, 1, 1, 7, 3)  # of the documents: equal neighbors, unequal ones, and single tokens
SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def draw_weights(model, std=0.3):
    """Draws weights at this standard deviation and gains near 1: at the usual 0.02 real effects hide."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                noise = torch.randn(parameter.shape, generator=generator)
                gain = isinstance(module, nn.LayerNorm) and name == "weight"
                if parameter.requires_grad:  # stock RoFormer keeps its table of angles as a frozen parameter
                    parameter.copy_(1 + 0.1 * noise if gain else std * noise)
    return model.eval()


def pytest_configure():
    """Hides CUDA from all tests but that of accelerators: numbers are compared to the last digits, and benchmarks
    fork."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture
def given_environment():
    """The environment that pytest was started in."""
    return GIVEN_ENVIRONMENT


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tensors this small gain nothing from a second thread, which on a busy machine makes each step wait for it."""
    torch.set_num_threads(1)


@pytest.fixture(params=sorted(POSITION))
def encoding(request):
    return request.param


@pytest.fixture(params=sorted(set(ATTENTION) - set(SOFTMAX)))
def linear_backend(request, monkeypatch):
    """Its name; the tokens of these short documents fill several chunks."""
    monkeypatch.setattr(linear, "_CHUNK", 2)
    return request.param


@pytest.fixture(params=sorted(SOFTMAX))
def backend(request, monkeypatch):
    """Its name; scores of these short documents fill several blocks, of more than one head or of some rows."""
    monkeypatch.setattr(blocked, "_SHORT", 0)
    monkeypatch.setattr(blocked, "_BLOCK", 20)
    return request.param


@pytest.fixture(scope="session")
def position_settings():
    """Settings of each encoding, as its yaml states them."""
    return POSITION


@pytest.fixture(scope="session")
def attention_settings():
    return ATTENTION


@pytest.fixture(scope="session")
def sizes():
    return SIZES


@pytest.fixture(scope="session")
def visible_weights():
    """The function that redraws the weights of a model and returns it, ready to be evaluated."""
    return draw_weights


@pytest.fixture(scope="session")
def tiny_model():
    """Builds a model with the encoding of that name; other keywords go to its configuration."""

    def build(name="rope", *, model_class=None, settings=None, std=0.3, **config):
        position = {**POSITION.get(name, {"name": name}), **(settings or {})}
        model_class = model_class or (RoFormerForCausalLM if config.get("is_decoder") else RoFormerForMaskedLM)
        return draw_weights(model_class(RoFormerConfig(**{**SIZES, "position": position, **config})), std)

    return build


@pytest.fixture(scope="session")
def documents():
    """Token numbers of each document; 0, the padding, is none of them."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1, SIZES["vocab_size"], (length,), generator=generator) for length in LENGTHS]


@pytest.fixture
def packed(documents):
    """The documents in one row: (1, T), with their bounds."""
    bounds = torch.tensor([0, *LENGTHS]).cumsum(0)
    return {"input_ids": torch.cat(documents)[None], "cu_seqlens": bounds}


@pytest.fixture
def padded(documents):
    """The documents in a row each: (B, L), with a mask; the real tokens in order are those of ``packed``."""
    tokens = pad_sequence(documents, batch_first=True)
    return {"input_ids": tokens, "attention_mask": (tokens > 0).long()}
