"""An encoding that adds to the scores, differently in each layer: ALiBi, steeper in each."""

import pytest
import torch

from roformer.errors import UserError
from roformer.position import POSITION_ENCODINGS, ModelShape, PositionEncoding, Traits
from tests.choices import each_backend

pytestmark = pytest.mark.usefixtures("small_blocks")

NAME = "alibi_of_the_tests"


class ToyAlibi(PositionEncoding):
    """Subtracts steepness x (layer + 1) x 2^-head x |m - n|; the state holds the positions themselves."""

    traits = Traits(shift_invariant=True)

    def __init__(self, shape: ModelShape, *, steepness: float) -> None:
        super().__init__()
        self.register_buffer("slopes", torch.tensor([steepness * 2.0**-h for h in range(shape.num_attention_heads)]))

    def prepare(self, position_ids):
        return (position_ids[:, None, :, None].float(),)

    def score_bias(self, query, key, state, *, layer):
        (positions,) = state
        return -(layer + 1) * self.slopes[:, None, None] * (positions - positions.mT).abs()


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(POSITION_ENCODINGS._classes, NAME, ToyAlibi)


@pytest.fixture
def biased(tiny_model):
    """Builds a model with the toy encoding."""

    def build(backend, steepness=0.5):
        return tiny_model(NAME, settings={"steepness": steepness}, attention_backend=backend)

    return build


@each_backend
@pytest.mark.parametrize("kind", ["padded", "packed"])
def test_same_logits_as_eager(backend, kind, biased, request):
    """Catches a backend that drops the bias where there is a mask, or where documents are packed."""
    inputs = request.getfixturevalue(kind)
    rows = torch.ones_like(inputs["input_ids"]) if kind == "packed" else inputs["attention_mask"]
    logits, expected = (biased(name)(**inputs).logits[rows.bool()] for name in (backend, "eager"))
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=0)


@each_backend
def test_packed_is_padded_is_one_document_at_a_time(backend, biased, documents, packed, padded):
    """Catches a state that is not cut to the documents, or cut at the wrong tokens."""
    model = biased(backend)
    alone = torch.cat([model(document[None]).logits[0] for document in documents])
    torch.testing.assert_close(model(**packed).logits[0], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(model(**padded).logits[padded["attention_mask"].bool()], alone, atol=1e-5, rtol=0)


@each_backend
def test_state_is_cut_where_rows_of_a_batch_differ(backend, biased):
    """Catches a bias of the first row's positions that is used for all rows."""
    model, tokens = biased(backend), torch.arange(1, 9)[None]
    positions = torch.stack((torch.arange(8), 2 * torch.arange(8)))
    together = model(tokens.repeat(2, 1), position_ids=positions).logits
    alone = torch.cat([model(tokens, position_ids=row[None]).logits for row in positions])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert (together[0] - together[1]).abs().max() > 0.01


@each_backend
def test_bias_matters_and_order_with_it(backend, biased):
    """Catches a bias that is computed and then not added: without slopes the model is a bag of words."""
    tokens = torch.arange(1, 13)[None]
    swapped = tokens[:, [0, 11, *range(2, 11), 1]]
    for steepness, low, high in ((0.5, 0.01, float("inf")), (0.0, 0.0, 1e-4)):
        model = biased(backend, steepness)
        assert low <= (model(tokens).logits[:, 0] - model(swapped).logits[:, 0]).abs().max() <= high


@each_backend
def test_each_layer_asks_for_its_own_bias(backend, biased, monkeypatch, packed):
    """Catches a layer number that is always 0, or a layer that does not ask."""
    layers, score_bias = [], ToyAlibi.score_bias
    monkeypatch.setattr(
        ToyAlibi,
        "score_bias",
        lambda self, *tensors, layer: layers.append(layer) or score_bias(self, *tensors, layer=layer),
    )
    biased(backend)(packed["input_ids"])
    assert layers == [0, 1]


@each_backend
@pytest.mark.parametrize("backend_dtype", [torch.bfloat16, torch.float16])
def test_bias_in_low_precision(backend, backend_dtype, biased, padded):
    """Catches a float32 bias that the kernels refuse beside half-precision queries, and a mask that overflows."""
    model = biased(backend)
    mask = padded["attention_mask"].bool()
    expected = model(**padded).logits[mask]
    logits = model.to(backend_dtype)(**padded).logits
    assert logits.dtype == backend_dtype
    assert logits.isfinite().all()
    assert (logits[mask].float() - expected).norm() < 0.05 * expected.norm()


@each_backend
@pytest.mark.parametrize("kind", ["padded", "packed"])
def test_compiled(backend, kind, biased, request):
    """Catches a bias that is lost where a mask stands for the lengths of the documents, as in a compiled model."""
    torch.compiler.reset()
    inputs = request.getfixturevalue(kind)
    model, rows = biased(backend), inputs["input_ids"] > 0
    with torch.no_grad():
        logits = torch.compile(model, fullgraph=True, backend="eager")(**inputs).logits
        torch.testing.assert_close(logits[rows], model(**inputs).logits[rows], atol=1e-5, rtol=0)


def test_sdpa_gets_a_bias_of_its_own_type(biased, padded, monkeypatch):
    """Catches a float32 bias beside bfloat16 queries, which the kernels of a GPU refuse and those of a CPU take."""
    types, attention = [], torch.nn.functional.scaled_dot_product_attention

    def watched(query, key, value, *, attn_mask, **more):
        types.append((query.dtype, attn_mask.dtype))
        return attention(query, key, value, attn_mask=attn_mask, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    biased("sdpa").bfloat16()(**padded)
    assert set(types) == {(torch.bfloat16, torch.bfloat16)}


def test_rotary_value_is_refused(biased, tiny_model):
    """Catches values that are said to be rotated by an encoding that cannot rotate."""
    with pytest.raises(UserError, match=f"rotary_value needs position rope, got '{NAME}'"):
        tiny_model(NAME, settings={"steepness": 1.0}, rotary_value=True)
