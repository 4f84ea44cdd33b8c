"""The kernels for packed documents give what ``eager`` gives, as far as a CPU can tell."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, create_mask, flex_attention

from roformer.attention import ATTENTION_BACKENDS, AttentionInputs, SequenceLayout, document_ids, flex, varlen
from roformer.errors import UserError
from roformer.position import POSITION_ENCODINGS, ModelShape
from tests.choices import POSITION, each_encoding, honors

H, D = 2, 16
SHAPE = ModelShape(hidden_size=H * D, num_attention_heads=H, num_hidden_layers=2, max_position_embeddings=512)
LENGTHS = (130, 5, 0, 260, 1, 41)  # within a block, across two, and an empty document
TOTAL = sum(LENGTHS)


POSITIONAL = [
    name
    for name in POSITION
    if POSITION_ENCODINGS.build(POSITION[name], SHAPE).adds_to_scores and honors("flex", name)
]


def inputs_of(encoding, *, causal=False, window=None):
    """Packed documents for an encoding whose weights are random."""
    torch.manual_seed(0)
    position = POSITION_ENCODINGS.build(POSITION[encoding], SHAPE).eval().requires_grad_(False)
    for parameter in position.parameters():
        parameter.normal_()
    bounds = torch.tensor([0, *LENGTHS]).cumsum(0)
    layout = replace(SequenceLayout.packed(bounds, TOTAL, causal=causal, lengths=LENGTHS), window=window)
    query, key, value = torch.randn(3, 1, H, TOTAL, D).unbind(0)
    places = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    return AttentionInputs(
        query=query, key=key, value=value, position=position, state=position.prepare(places), layout=layout, layer=1
    )


def expected(inputs):
    return ATTENTION_BACKENDS["eager"](SHAPE, dropout=0.0, rotary_value=False)(inputs)[0]


@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("encoding", ["none", *POSITIONAL])
def test_flex_is_eager(encoding, causal, window, monkeypatch):
    """Catches blocks that are left out, tokens of other documents, and a table that is read at other distances."""
    monkeypatch.setattr(flex, "KERNEL_DEVICES", ("cpu",))
    monkeypatch.setattr(flex, "_kernel", lambda: flex_attention)
    backend = ATTENTION_BACKENDS["flex"](SHAPE, dropout=0.0, rotary_value=False)
    inputs = inputs_of(encoding, causal=causal, window=window)
    with inputs.position.counting(LENGTHS):
        inputs = replace(inputs, layout=backend.arrange(inputs.layout, inputs.position, {None, window}))
        assert inputs.layout.arranged is not None
        torch.testing.assert_close(backend(inputs)[0], expected(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("causal", [False, True])
def test_blocks_are_those_of_the_mask(causal, window):
    """Catches blocks that are computed for nothing, and a mask that the kernel does not get."""
    layout = inputs_of("none", causal=causal).layout
    ours = flex.block_mask(layout, window)
    theirs = create_block_mask(ours.mask_mod, None, None, TOTAL, TOTAL, device="cpu")
    documents = document_ids(layout.cu_seqlens, TOTAL)
    visible = documents[:, None] == documents
    if window is not None:
        visible &= torch.ones_like(visible).triu(-window).tril(window)
    assert torch.equal(create_mask(ours.mask_mod, None, None, TOTAL, TOTAL, device="cpu")[0, 0],
                       visible.tril() if causal else visible)  # fmt: skip
    needed = theirs.kv_num_blocks + theirs.full_kv_num_blocks
    assert torch.equal(ours.kv_num_blocks, needed)


@pytest.mark.parametrize("window", [None, 40])
@pytest.mark.parametrize("causal", [False, True])
def test_varlen_gets_the_documents(causal, window, monkeypatch):
    """Catches bounds, a window or a scale that are not those of the batch; the kernel itself needs a GPU."""
    calls, reach = [], -1 if window is None else window

    def kernel(query, key, value, *bounds_and_longest, window_size):
        calls.append((*bounds_and_longest, window_size))
        return query + 2 * key + 4 * value

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    monkeypatch.setattr(varlen, "KERNEL_DEVICES", ("cpu",))
    inputs = inputs_of("none", causal=causal, window=window)
    inputs = replace(inputs, **{name: getattr(inputs, name).bfloat16() for name in ("query", "key", "value")})
    wanted = torch.tensor([0, 3, TOTAL - 1])
    output, _ = ATTENTION_BACKENDS["varlen"](SHAPE, dropout=0.0, rotary_value=False)(
        replace(inputs, query_indices=wanted)
    )
    ((q_bounds, k_bounds, q_longest, k_longest, given),) = calls
    assert q_bounds.tolist() == k_bounds.tolist() == [0, 130, 135, 135, 395, 396, 437]
    assert q_bounds.dtype == torch.int32
    assert q_longest == k_longest == 512  # the power of two above 260
    assert given == (reach, 0 if causal else reach)
    heads = (inputs.query + 2 * inputs.key + 4 * inputs.value)[0]
    assert torch.equal(output, heads.transpose(0, 1).flatten(1)[wanted])


@each_encoding
def test_auto_loses_no_term(encoding):
    """Catches an encoding that ``auto`` gives to a kernel that does not know what it adds."""
    position = POSITION_ENCODINGS.build(POSITION[encoding], SHAPE)
    honored = [name for name in ("varlen", "flex") if honors(name, encoding)]
    assert ("varlen" in honored) == (not position.adds_to_scores and not position.adds_to_values)
    assert ("flex" in honored) == ("varlen" in honored or encoding in POSITIONAL)
    assert not {"cope", "deberta", "shaw", "transformer_xl"} & set(POSITIONAL)


@pytest.mark.parametrize("backend", ["varlen", "flex"])
def test_dropout_of_weights_is_refused(backend):
    """Catches weights that are never dropped."""
    with pytest.raises(UserError, match=f"attention={backend} cannot drop attention weights: set model.attention_pro"):
        ATTENTION_BACKENDS[backend](SHAPE, dropout=0.1, rotary_value=False)


@pytest.mark.parametrize("lengths", [(5, 4), (5, 5), (4, 4, 2), (4, -1, 7), (10,)], ids=str)
def test_lengths_that_do_not_fit_are_refused(lengths, tiny_model):
    """Catches lengths of another batch, which would mix documents in silence."""
    with pytest.raises(UserError, match="document_lengths must be those of the 2 documents of cu_seqlens and add up"):
        tiny_model()(
            torch.ones(1, 10, dtype=torch.long), cu_seqlens=torch.tensor([0, 4, 10]), document_lengths=lengths
        )


def test_lengths_without_documents_are_refused(tiny_model):
    """Catches padded rows that are taken for packed documents."""
    with pytest.raises(UserError, match="document_lengths are of packed documents; give cu_seqlens as well"):
        tiny_model()(torch.ones(1, 10, dtype=torch.long), document_lengths=(4, 6))


@each_encoding
def test_empty_documents_change_nothing(encoding, tiny_model, packed):
    """Catches bounds that are filled up to a fixed number of documents and count as some."""
    model, bounds = tiny_model(encoding), packed["cu_seqlens"]
    lengths = (*bounds.diff().tolist(), 0, 0)
    filled = {**packed, "cu_seqlens": torch.cat((bounds, bounds[-1:], bounds[-1:])), "document_lengths": lengths}
    assert torch.equal(model(**filled).logits, model(**packed).logits)
