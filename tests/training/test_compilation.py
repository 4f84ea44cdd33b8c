"""Compiled layers: the same losses, the same names, and no graph that a batch makes necessary."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._inductor import config as inductor

from roformer.errors import UserError
from roformer.runs import RunFolder
from roformer.tasks.factory import build_task
from roformer.training import compilation
from roformer.training.callbacks import Callback
from roformer.training.compilation import choose_compile
from tests.tiny_runs import metrics, weights

COMPILED = "trainer.compile=true"
NO_DROPOUT = ("model.hidden_dropout_prob=0", "model.attention_probs_dropout_prob=0")
TASKS = ["mlm", "causal_lm", "classification", "token_classification", "question_answering", "translation"]


@pytest.fixture
def graphs(monkeypatch):
    """Counts graphs, which then run as they are."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    monkeypatch.setattr(compilation, "BACKEND", counter)
    monkeypatch.setattr(compilation, "why_not", lambda device: None)
    yield counter
    torch._dynamo.reset()


@pytest.mark.parametrize("task", TASKS)
def test_losses_and_names_are_the_same(tiny_runs, tmp_path, graphs, task):
    """Catches a layer that computes something else, padding that counts, and ``_orig_mod`` in a checkpoint."""
    more = ("trainer.max_steps=3", "trainer.eval_steps=3", "trainer.save_steps=1", *NO_DROPOUT)
    plain = tiny_runs.train(tmp_path / "plain", *more, "trainer.compile=false", task=task)
    assert graphs.frame_count == 0
    compiled = tiny_runs.train(tmp_path / "compiled", *more, COMPILED, task=task)
    assert graphs.frame_count > 0
    assert weights(compiled).keys() == weights(plain).keys()
    for ours, theirs in zip(metrics(compiled), metrics(plain), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


class CountGraphs(Callback):
    """Notes how many graphs there are after each step."""

    def __init__(self, graphs):
        self.graphs, self.found = graphs, []

    def after_step(self, trainer):
        self.found.append(self.graphs.frame_count)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("task", ["mlm", "causal_lm", "classification"])
def test_batches_need_no_other_graph(tiny_runs, tmp_path, graphs, task, layers):
    """Catches a graph for each number of tokens, documents or layers; evaluation has its own."""
    count = CountGraphs(graphs)
    more = ("trainer.max_steps=20", "trainer.eval_steps=10", f"model.num_hidden_layers={layers}")
    tiny_runs.train(tmp_path / "run", *more, COMPILED, task=task, callbacks=[count])
    after_first, *_, end = count.found
    assert set(count.found[:9]) == {after_first}  # the evaluation after the tenth step has its own
    assert set(count.found[9:]) == {end}
    assert after_first <= 5
    assert end <= 2 * after_first


def test_packed_batches_have_one_shape(tiny_runs, tmp_path):
    """Catches sizes that follow the batch."""
    for task in ("mlm", "causal_lm"):
        task = build_task(tiny_runs.config(tmp_path / "run", task=task))
        shape, found = task.packed_shape(4), set()
        for step in range(20):
            batch = task.batch(step, 8, share=step % 2, shares=2)
            filled = shape.fill(batch.inputs, pad_token_id=task.tokenizer.pad_token_id)
            lengths = filled["document_lengths"]
            assert [0, *torch.tensor(lengths).cumsum(0).tolist()] == filled["cu_seqlens"].tolist()
            assert max(lengths) <= task.sequence_length
            sizes = (filled[name].numel() for name in ("input_ids", "labels", "query_indices"))
            found.add((*sizes, len(lengths)))
        assert found == {(shape.tokens, shape.tokens, shape.predictions, shape.documents)}


def test_filling_changes_no_loss_and_no_gradient(tiny_runs, tmp_path, tiny_model):
    """Catches padding that is seen by documents, predicted, or counted."""
    task = build_task(tiny_runs.config(tmp_path / "run"))
    model = tiny_model(vocab_size=400).double()
    inputs = task.batch(0, 8, share=0, shares=1).inputs
    found = []
    for each in (inputs, task.packed_shape(8).fill(inputs, pad_token_id=task.tokenizer.pad_token_id)):
        model.zero_grad()
        loss = model(**each, num_items_in_batch=30).loss
        loss.backward()
        found.append((loss.detach(), [parameter.grad.clone() for parameter in model.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("asked", "device", "reason", "value"),
    [
        ("auto", "cpu", None, False),
        ("auto", "meta", None, True),
        ("auto", "meta", "Triton is missing", False),
        (True, "cpu", None, True),
        (False, "meta", None, False),
    ],
)
def test_the_choice(monkeypatch, asked, device, reason, value):
    """Catches a run that dies on a GPU without Triton although nobody asked for it."""
    monkeypatch.setattr(compilation, "why_not", lambda device: reason)
    choice = choose_compile(asked, torch.device(device))
    assert choice.value == value
    assert reason is None or reason in choice.reason


def test_a_missing_compiler_is_named(tiny_runs, tmp_path):
    """Catches a page of traceback at the first step."""
    compilation.why_not.cache_clear()
    torch._dynamo.reset()
    match = r"trainer.compile=true: .*no-such-compiler.*trainer.compile=false"
    with inductor.patch({"cpp.cxx": (None, "no-such-compiler")}), pytest.raises(UserError, match=match) as error:
        tiny_runs.train(tmp_path / "run", COMPILED)
    compilation.why_not.cache_clear()
    assert "\n" not in str(error.value)
    assert RunFolder(tmp_path / "run").status != "finished"


@pytest.mark.slow
def test_a_compiled_run_learns_the_same(tiny_runs, tmp_path):
    """Catches a graph of the real compiler that computes something else."""
    runs = [
        tiny_runs.train(tmp_path / each, *NO_DROPOUT, f"trainer.compile={each}", "trainer.max_steps=4")
        for each in ("false", "true")
    ]
    for ours, theirs in zip(*map(metrics, runs), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
