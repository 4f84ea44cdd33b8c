"""``local_attention``: which layers attend within a window, and that all else of a model works as without."""

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM, ModernBertConfig
from transformers.masking_utils import sliding_window_bidirectional_mask_function

from roformer import RoFormerForMaskedLM, RoFormerLabConfig
from roformer.attention import SequenceLayout, _windows
from roformer.attention.layout import with_window
from roformer.model import RoFormerForConditionalGeneration
from roformer.model.layers import RoFormerLayer
from roformer.model.local_attention import has_windows, layer_window
from tests.choices import each_hook, each_hook_and_backend

LOCAL = {"local_attention": 4, "global_attn_every_n_layers": 2}  # of two layers the second one
TOKENS = torch.randint(1, 60, (2, 14), generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _small_blocks(small_blocks, monkeypatch):
    """Lets short documents fill several blocks, of scores and of windows."""
    monkeypatch.setattr(_windows, "_ROWS", 2)


@pytest.fixture(params=["padded", "packed"])
def inputs(request):
    return request.getfixturevalue(request.param)


def real(outputs, inputs):
    """Rows of real tokens, (T, anything), in the order of the documents."""
    return outputs[0] if "cu_seqlens" in inputs else outputs[inputs["attention_mask"].bool()]


def masked(model, documents):
    """Logits of each document alone, of a model whose second layer is given a mask with the window."""

    def narrow(layer, arguments, keywords):
        places = torch.arange(arguments[0].shape[1])
        mask = (places[:, None] - places).abs() <= 2
        layout = SequenceLayout(mask=(mask.tril() if model.config.is_decoder else mask)[None, None])
        return arguments, {**keywords, "layout": layout}

    handle = model.roformer.layers[1].register_forward_pre_hook(narrow, with_kwargs=True)
    logits = torch.cat([model(document[None]).logits[0] for document in documents])
    handle.remove()
    return logits


@each_hook_and_backend
@pytest.mark.parametrize("is_decoder", [False, True], ids=["encoder", "decoder"])
def test_a_window_is_a_mask(encoding, backend, inputs, documents, tiny_model, is_decoder):
    """Catches a window in the other layer, across documents or around other tokens, a bias that is cut at other
    places, and gradients of these."""
    model = tiny_model(encoding, attention_backend=backend, is_decoder=is_decoder, **LOCAL)
    other = tiny_model(encoding, attention_backend="eager", is_decoder=is_decoder)
    logits, expected = real(model(**inputs).logits, inputs), masked(other, documents)
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=0)
    assert (logits - real(other(**inputs).logits, inputs)).abs().max() > 0.01
    for output in (logits, expected):
        output.logsumexp(-1).sum().backward()
    for (name, parameter), its in zip(model.named_parameters(), other.parameters(), strict=True):
        tolerance = 1e-5 * its.grad.abs().max().item() + 1e-6
        torch.testing.assert_close(parameter.grad, its.grad, atol=tolerance, rtol=1e-4, msg=name)


@pytest.mark.parametrize(("layers", "every"), [(22, 3), (28, 3), (7, 2), (4, 1)])
@pytest.mark.parametrize("size", [128, 2])
def test_layers_and_windows_are_those_of_modernbert(layers, every, size, sizes):
    """Catches a full layer at another place, and a total window that is taken as one side of it."""
    settings = {"local_attention": size, "global_attn_every_n_layers": every, "num_hidden_layers": layers}
    ours, theirs = RoFormerLabConfig(**{**sizes, **settings}), ModernBertConfig(**settings)
    windows = [layer_window(ours, layer) for layer in range(layers)]
    assert [window is not None for window in windows] == [kind == "sliding_attention" for kind in theirs.layer_types]
    assert has_windows(ours) == ("sliding_attention" in theirs.layer_types)
    x = torch.zeros(1, 1, 200, 1)
    sees = sliding_window_bidirectional_mask_function(theirs.sliding_window)
    mask = torch.tensor([[sees(0, 0, torch.tensor(q), torch.tensor(k)) for k in range(200)] for q in range(200)])
    for window in {*windows} - {None}:
        assert torch.equal(with_window(None, x, x, window=window, causal=False)[0, 0], mask)


def test_zero_is_no_window(sizes):
    """Catches a window of no tokens."""
    assert RoFormerLabConfig(**sizes, local_attention=0).local_attention is None


@each_hook
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generation_with_a_cache(encoding, cache, tiny_model):
    """Catches a new token that sees more, or other, tokens of the cache than when the text is read at once."""
    model = tiny_model(encoding, is_decoder=True, num_hidden_layers=3, **LOCAL)
    tokens, mask = F.pad(TOKENS, (3, 0)), F.pad(torch.ones_like(TOKENS), (3, 0))
    settings = {"attention_mask": mask, "max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    expected = model.generate(tokens, use_cache=False, **settings)
    assert torch.equal(model.generate(tokens, cache_implementation=cache, **settings), expected)


def test_weights_of_each_layer(tiny_model, padded):
    """Catches weights outside of a window, and a layer that should see all and does not."""
    weights = tiny_model(**LOCAL)(**padded, output_attentions=True).attentions
    places = torch.arange(padded["input_ids"].shape[1])
    outside = (places[:, None] - places).abs() > 2
    assert weights[1][..., outside].abs().max() == 0
    assert weights[0][..., outside].abs().max() > 0


def test_sparse_prediction(inputs, tiny_model):
    """Catches a last layer that computes a few tokens, with the window around other ones."""
    tokens = inputs["input_ids"]
    labels = torch.where((torch.arange(tokens.numel()).view(tokens.shape) % 3 == 0) & (tokens > 0), tokens, -100)
    model = tiny_model(**LOCAL)
    few, all_logits = (model(**inputs, labels=labels, sparse_prediction=few).logits for few in (True, False))
    torch.testing.assert_close(few, all_logits[labels != -100], atol=1e-5, rtol=0)


def test_an_encoder_decoder_reads_the_whole_source(tiny_model, monkeypatch):
    """Catches a window in cross-attention, whose places are those of two texts, and one that the decoder loses."""
    windows, forward = [], RoFormerLayer.forward

    def watched(self, hidden_states, **more):
        windows.append((self.window, more["encoder_layout"].window))
        return forward(self, hidden_states, **more)

    monkeypatch.setattr(RoFormerLayer, "forward", watched)
    model = tiny_model(
        model_class=RoFormerForConditionalGeneration, is_encoder_decoder=True, decoder_start_token_id=1, **LOCAL
    )
    model(TOKENS, decoder_input_ids=TOKENS[:, :3])
    assert windows == [(None, None), (2, None)] * 2


def test_a_saved_model_has_its_windows(tiny_model, tmp_path):
    """Catches a setting that is lost on the way."""
    model = tiny_model(**LOCAL)
    model.save_pretrained(tmp_path)
    for loaded in (RoFormerForMaskedLM.from_pretrained(tmp_path), AutoModelForMaskedLM.from_pretrained(tmp_path)):
        assert torch.equal(loaded.eval()(TOKENS).logits, model(TOKENS).logits)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
@pytest.mark.parametrize("backend", ["blocked", "sdpa"])
def test_compiled_and_exported(backend, tiny_model, inputs):
    """Catches a graph break, and blocks whose number is fixed by tracing."""
    model = tiny_model(attention_backend=backend, **LOCAL)
    torch.compiler.reset()
    with torch.no_grad():
        expected = real(model(**inputs).logits, inputs)
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(real(compiled(**inputs).logits, inputs), expected, atol=1e-5, rtol=0)
        if "cu_seqlens" in inputs:
            return
        shape = {0: torch.export.Dim("rows"), 1: torch.export.Dim("length")}
        program = torch.export.export(model, (), inputs, dynamic_shapes=dict.fromkeys(inputs, shape))
        for length in (14, 5, 1):
            batch = {"input_ids": TOKENS[:, :length], "attention_mask": torch.ones(2, length, dtype=torch.long)}
            torch.testing.assert_close(program.module()(**batch).logits, model(**batch).logits, atol=1e-5, rtol=0)
