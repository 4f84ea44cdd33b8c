"""torch.export and ONNX: every encoding, batches of any size, texts of any length, in real float32."""

import pytest
import torch
from torch.export import Dim

from roformer.export.onnx import largest_difference, write_graph
from roformer.position import RotaryEmbedding
from tests.choices import each_encoding

onnx = pytest.importorskip("onnx")

SHAPES = [(2, 8), (5, 33), (1, 12), (3, 1), (1, 1)]  # the first is traced
# their frequencies follow the length of the text, so that no constant can take the place of float64
COMPUTES_FREQUENCIES = {"rope_dynamic", "rope_longrope"}


def batch(rows, length):
    """Random tokens, with padding in all rows but the last."""
    generator = torch.Generator().manual_seed(length)
    mask = torch.ones(rows, length, dtype=torch.long)
    mask[:-1, length // 2 + 1 :] = 0
    return {"input_ids": torch.randint(1, 60, (rows, length), generator=generator), "attention_mask": mask}


def exported(model):
    inputs = batch(*SHAPES[0])
    shape = {0: Dim("rows"), 1: Dim("length")}
    return torch.export.export(model, (), inputs, dynamic_shapes=dict.fromkeys(inputs, shape))


@pytest.mark.slow
@each_encoding
def test_torch_export_of_every_encoding(encoding, tiny_model):
    """Catches a length that is fixed by tracing, Python that asks for a number, and complex numbers."""
    model = tiny_model(encoding, num_hidden_layers=1)
    program = exported(model)
    for shape in SHAPES:
        inputs = batch(*shape)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(**inputs).logits, model(**inputs).logits, atol=1e-5, rtol=1e-5)
    assert "complex" not in str(program.graph_module)


@pytest.mark.slow
@each_encoding
def test_onnx_of_every_encoding(encoding, tiny_model, tmp_path):
    """Catches parameters that have to be frozen first, and a runtime that must know float64."""
    model, file = tiny_model(encoding, num_hidden_layers=1), tmp_path / "model.onnx"
    write_graph(model, batch(*SHAPES[0]), file)
    for shape in SHAPES:
        assert largest_difference(model, batch(*shape), file) < 1e-5
    graph = onnx.load(file).graph
    double = {onnx.TensorProto.DOUBLE, onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128}
    values = [*graph.value_info, *graph.initializer]
    types = {value.data_type if hasattr(value, "data_type") else value.type.tensor_type.elem_type for value in values}
    assert bool(types & double) == (encoding in COMPUTES_FREQUENCIES)


@pytest.mark.slow
def test_onnx_of_windows(tiny_model, tmp_path):
    """Catches a window that the graph loses, or has for the traced length only."""
    model, file = tiny_model(local_attention=4, global_attn_every_n_layers=2), tmp_path / "model.onnx"
    write_graph(model, batch(*SHAPES[0]), file)
    for shape in SHAPES:
        assert largest_difference(model, batch(*shape), file) < 1e-5
    assert largest_difference(tiny_model(), batch(5, 33), file) > 0.01  # the same weights without windows


@pytest.mark.parametrize("layout", ["interleaved", "half"])
@pytest.mark.parametrize("start", [0, 4_000, 100_000, 10_000_000])
def test_exported_angles_are_exact_far_out(layout, start):
    """Catches angles in plain float32, which are off by 3e-3 at position 100,000, in a graph without float64."""
    rope = RotaryEmbedding(64, layout=layout, rope_theta=500_000.0)
    query, key = torch.randn(2, 1, 1, 50, 64, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(50) + start
    program = torch.export.export(rope, (query, key, ids))
    for given, expected in zip(program.module()(query, key, ids), rope(query, key, ids), strict=True):
        torch.testing.assert_close(given, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("encoding", ["rope", "t5"])
def test_only_positions_are_float32_in_bfloat16(encoding, tiny_model):
    """Catches a graph that computes layers in float32 where the weights are bfloat16."""
    model = tiny_model(encoding, num_hidden_layers=1).bfloat16()
    widths = {model.config.hidden_size, model.config.intermediate_size, model.config.vocab_size}
    values = [node.meta.get("val") for node in exported(model).graph.nodes]
    precise = [value for value in values if isinstance(value, torch.Tensor) and value.dtype == torch.float32]
    assert precise
    last = [value.shape[-1] for value in precise if value.dim()]
    assert not [size for size in last if isinstance(size, int) and size in widths]  # others are lengths
