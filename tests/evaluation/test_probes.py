"""The probes of a run: places in a text, sliding windows, stretched rotations, attention, synthetic documents."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from roformer.config import TrainConfig
from roformer.errors import UserError
from roformer.evaluation.harness import load_run
from roformer.evaluation.runs import find_runs
from roformer.ops.cross_entropy import IGNORE_INDEX
from roformer.position import POSITION_ENCODINGS, ModelShape
from roformer.sections.attention_distance import measure as attention_distance
from roformer.sections.evaluator import discover
from roformer.sections.length_extrapolation.measure import labeled_windows, sliding_batches, window_batches
from roformer.sections.long_term_decay import measure as long_term_decay
from roformer.tasks.factory import build_task
from roformer.tasks.language_modeling import EVALUATION_SEED, evenly_spaced, predictions, score_batches, score_tokens
from roformer.training.run import train
from tests.tiny_runs import TINY, composed, evaluation


def load(folder):
    (found,), _ = find_runs([str(folder)])
    return load_run(found)


@pytest.fixture(scope="module")
def rope(runs):
    return load(runs[0])


def measure(name, loaded, **settings):
    evaluator = discover()[name](evaluation([], **settings))
    assert evaluator.fits(loaded.config)
    with torch.inference_mode():
        return evaluator.evaluate(loaded)


def test_scores_of_tokens_are_those_of_the_model(rope):
    """Catches losses of other tokens, and positions that do not begin anew in each document."""
    batches = list(window_batches(rope.task, labeled_windows(rope.task, 4), 2, batch_tokens=200))
    scores = score_tokens(rope.model, batches)
    expected, positions = [], []
    for batch in batches:
        with torch.no_grad():
            logits = rope.model(batch.inputs["input_ids"], cu_seqlens=batch.inputs["cu_seqlens"]).logits[0]
        labels, bounds = batch.inputs["labels"][0], batch.inputs["cu_seqlens"].tolist()
        for start, stop in pairwise(bounds):
            for place in range(start, stop):
                if labels[place] != IGNORE_INDEX:
                    expected.append(-logits[place].log_softmax(-1)[labels[place]].item())
                    positions.append(place - start)
    assert scores.losses == pytest.approx(expected, rel=1e-4)
    assert scores.position_ids.tolist() == positions
    assert 0 < scores.correct.mean() < 1


def test_a_model_in_training_goes_on_in_training(rope):
    """Catches dropout in evaluation, and none in training after a validation that ended early."""
    batches = list(window_batches(rope.task, labeled_windows(rope.task, 4), 2, batch_tokens=200))
    rope.model.train()
    scored = predictions(rope.model, batches)
    next(scored)
    assert not rope.model.training
    scored.close()
    assert rope.model.training
    rope.model.eval()


def test_places_add_up_to_the_whole(rope):
    """Catches parts of a window that are counted twice, or in another order."""
    result = measure("length_extrapolation", rope)
    assert len(result.by_position) == 4
    batches = window_batches(rope.task, labeled_windows(rope.task, 4), 4, batch_tokens=512)
    scores = score_tokens(rope.model, batches)
    counts, _ = np.histogram(scores.position_ids, bins=[1, 31, 61, 91, 121])
    mean = np.average(result.by_position, weights=counts)
    assert mean == pytest.approx(result.by_length[128].loss, rel=1e-6)


@pytest.mark.parametrize("length", [32, 33, 37])
def test_a_sliding_window_predicts_every_token_once_and_in_its_middle(tiny_runs, length):
    """Catches tokens that are lost between two windows, counted in both, or predicted at an edge."""
    task = build_task(tiny_runs.config("unused", f"task.sequence_length={length}"))
    ordinary, windows = length - 2, labeled_windows(task, 3)
    (batch,) = sliding_batches(task, windows, batch_tokens=10**6)
    labels, bounds = batch.inputs["labels"][0], batch.inputs["cu_seqlens"].tolist()
    pieces = [labels[start + 1 : stop - 1] for start, stop in pairwise(bounds)]
    assert {len(piece) for piece in pieces} == {ordinary}
    assert len(windows) > 1
    assert (labels != IGNORE_INDEX).sum() == sum((targets != IGNORE_INDEX).sum() for _, targets in windows)
    per_window = len(pieces) // len(windows)
    for number, (_, targets) in enumerate(windows):
        own = pieces[number * per_window : (number + 1) * per_window]
        found = torch.cat([piece[piece != IGNORE_INDEX] for piece in own])
        assert found.tolist() == targets[targets != IGNORE_INDEX].tolist()
        for piece in own[1:-1]:
            places = (piece != IGNORE_INDEX).nonzero()
            assert ((places >= ordinary // 4) & (places < ordinary // 4 + ordinary // 2 + 1)).all()


def test_stretching_is_what_its_name_says(runs):
    """Catches a scaling that is not applied, applied at the wrong length, or left in the model."""
    rope = load(runs[0])
    torch.manual_seed(0)
    for weight in rope.model.parameters():
        torch.nn.init.normal_(weight)  # a model of a few steps hardly looks at positions
    before = rope.model.roformer.position
    losses = measure("rope_scaling", rope).by_scaling
    assert rope.model.roformer.position is before
    plain = measure("length_extrapolation", rope).by_length
    assert list(losses) == ["rope", "rope_linear", "rope_ntk", "rope_dynamic", "rope_yarn"]
    for length in (64, 128):
        assert losses["rope"][length] == pytest.approx(plain[length].loss, rel=1e-6)
        assert len({by_length[length] for by_length in losses.values()}) == 5
        factor = length // 32
        stretched = {
            "rope_ntk": {"factor": float(factor)},
            "rope_dynamic": {"factor": 2.0, "original_max_position_embeddings": 32},
            "rope_yarn": {"factor": float(factor), "original_max_position_embeddings": 32},
        }
        for name, settings in stretched.items():
            rope.model.roformer.position = POSITION_ENCODINGS.build(
                {"name": name, **settings}, rope.model.config.shape
            )
            batches = window_batches(rope.task, labeled_windows(rope.task, 4), factor, batch_tokens=512)
            assert losses[name][length] == pytest.approx(score_batches(rope.model, batches)[0], rel=1e-6)
        rope.model.roformer.position = before
        found, weights = 0.0, 0
        for batch in window_batches(rope.task, labeled_windows(rope.task, 4), factor, batch_tokens=1):
            places = torch.arange(batch.inputs["input_ids"].shape[1])[None] / factor
            with torch.no_grad():
                logits = rope.model(batch.inputs["input_ids"], position_ids=places).logits[0]
            chosen = batch.inputs["labels"][0] != IGNORE_INDEX
            targets = batch.inputs["labels"][0][chosen]
            found += torch.nn.functional.cross_entropy(logits[chosen], targets, reduction="sum").item()
            weights += len(targets)
        assert losses["rope_linear"][length] == pytest.approx(found / weights, rel=1e-5)


def test_only_rope_is_stretched(runs):
    """Catches rotations that are forced upon a model that was trained without."""
    none = load(runs[4])
    assert none.config["position"]["name"] == "none"
    assert not discover()["rope_scaling"](evaluation([])).fits(none.config)


def test_attention_distance(rope, monkeypatch):
    """Catches weights of another layer or head, rows lost between batches, and a model that stays changed."""
    monkeypatch.setattr(attention_distance, "_BATCH", 3)
    result = measure("attention_distance", rope)
    rows = torch.stack(
        [torch.from_numpy(rope.task.add_special_tokens(*window)[0]) for window in labeled_windows(rope.task, 1)]
    )
    assert result.rows == len(rows) > 3
    eager = type(rope.model).from_pretrained(rope.folder / "export", attention_backend="eager")
    with torch.no_grad():
        weights = torch.stack(eager.roformer(rows, output_attentions=True).attentions)
    places = torch.arange(32)
    distances = (weights * (places[:, None] - places).abs()).sum(-1).mean(dim=(1, 3))
    assert np.array(result.tokens) == pytest.approx(distances.numpy(), rel=1e-4)
    assert distances.flatten().unique().numel() == 4


@pytest.mark.parametrize("layout", ["interleaved", "half"])
def test_decay(rope, layout, monkeypatch):
    """Catches queries and keys of the wrong tokens, heads or layers, and pairs of the wrong channels: scores are those
    of the rotated queries and keys."""
    monkeypatch.setattr(long_term_decay, "_ROWS", 2)
    monkeypatch.setattr(long_term_decay, "_PAIRS", 3)
    position = {
        "name": "rope",
        "rope_theta": 50.0,
        "layout": layout,
        "partial_rotary_factor": 1.0,
        "frequency_band": "all",
    }
    loaded = replace(rope, config={**rope.config, "position": position})
    result = measure("long_term_decay", loaded)
    windows = labeled_windows(rope.task, 1)
    assert len(windows) > 4
    chosen = [windows[place] for place in evenly_spaced(len(windows), 2)]
    input_ids = torch.stack([torch.from_numpy(rope.task.add_special_tokens(*window)[0]) for window in chosen])
    model, projected = rope.model.roformer, []
    hooks = [
        layer.query_key_value.register_forward_hook(lambda *seen: projected.append(seen[2])) for layer in model.layers
    ]
    with torch.no_grad():
        model(input_ids)
    for hook in hooks:
        hook.remove()
    queries, keys = np.random.default_rng(0).integers(32, size=(2, 2, 3))
    encoding = POSITION_ENCODINGS["rope"](ModelShape(hidden_size=16), rope_theta=50.0, layout=layout)
    for distance in (0, 1, 40):
        at, zero = (encoding.prepare(torch.tensor([[place]])) for place in (distance, 0))
        scores = [
            (encoding.rotate(query, at)[0] * encoding.rotate(key, zero)[0]).sum().abs()
            for output in projected
            for row in range(2)
            for place, other in zip(queries[row], keys[row], strict=True)
            for query, key in zip(output[row, place, :32].split(16), output[row, other, 32:64].split(16), strict=True)
        ]
        assert len(scores) == result.pairs == 2 * 2 * 3 * 2
        assert result.scores[distance] == pytest.approx(np.mean(scores), rel=1e-4)
    assert (np.array(result.bounds) > result.scores).all()
    assert len(result.bounds) == len(result.distances) == 257


def test_a_head_that_looks_everywhere(rope):
    """Catches a mean that is not one over queries and keys: without scores it is (L^2 - 1) / 3L."""
    blind = load(rope.folder)
    with torch.no_grad():
        for layer in blind.model.roformer.layers:
            layer.query_key_value.weight.zero_()
            layer.query_key_value.bias.zero_()
    distances = np.array(measure("attention_distance", blind).tokens)
    assert distances == pytest.approx(np.full((2, 2), (32**2 - 1) / (3 * 32)), rel=1e-5)


@pytest.fixture(scope="module")
def ordered(tiny_runs, tmp_path_factory):
    """A classifier of synthetic documents that always says "alpha first, near"."""
    data = ("task=classification", "task.max_length=36", "data=order", "data.length=34", "data.documents=400")
    folder = tmp_path_factory.mktemp("order") / "run"
    paths = (f"paths.cache_dir={tiny_runs.cache}", f"paths.output_dir={folder}")
    train(TrainConfig.from_hydra(composed("train", *data, *TINY, *paths, "trainer.max_steps=2")), frozenset())
    loaded = load(folder)
    with torch.no_grad():
        loaded.model.classifier.weight.zero_()
        loaded.model.classifier.bias.zero_()
        loaded.model.classifier.bias[loaded.task.corpus.label_names.index("alpha first, near")] = 1
    return loaded


def test_synthetic_cells(ordered):
    """Catches cells in another order, labels of other documents, and lengths that do not grow."""
    result = measure("synthetic", ordered, length_factors=[1, 4])
    assert result.cell == "distance of the two words"
    assert list(result.by_length) == [34, 136]
    short, long = result.by_length.values()
    # at 34 words the cells have distances of 1 to 5, 5 to 9, ...; up to 16 is near, and half of them has alpha first
    assert all(0.35 < accuracy < 0.65 for accuracy in short[:3])
    assert short[5:] == (0, 0, 0)
    assert 0.3 < long[0] < 0.65  # distances of 1 to 17
    assert long[1:] == (0,) * 7
    half = result.baselines[34]["most frequent label"]
    assert 0.2 < half < 0.3  # near and far come alike at 34 words,
    assert result.baselines[136]["most frequent label"] > 0.4  # but hardly so at 136


def test_too_few_synthetic_documents_are_one_line(ordered):
    """Catches a traceback about a label that training has never seen."""
    names = ordered.task.corpus.label_names
    corpus = replace(ordered.task.corpus, label_names=names[:3])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ordered.task, "corpus", corpus)
        with pytest.raises(UserError, match=f"none of them had the label '{names[3]}'; raise data.documents"):
            measure("synthetic", ordered)


def test_losses_per_document_add_up(rope):
    """Catches tokens that are counted for the document next to theirs in the batch."""
    result = measure("lm_loss", rope, batch_tokens=200)
    split, found = rope.task.corpus.splits["test"], result.per_document
    assert sum(found.losses) / sum(found.tokens) == pytest.approx(result.loss)
    assert sum(found.tokens) == result.predicted_tokens
    assert result == measure("lm_loss", rope, batch_tokens=200)
    expected = dict.fromkeys(range(len(split)), 0)
    plan = rope.task.plans["test"]
    for row in evenly_spaced(len(plan), rope.task.max_eval_rows):
        spans = plan.row(row)
        labeled = rope.task._labeled_row("test", row, np.random.default_rng([EVALUATION_SEED, 1, row]))
        for (start, _), (_, own) in zip(spans, labeled, strict=True):
            expected[int(np.searchsorted(split.offsets, start, side="right")) - 1] += int((own != IGNORE_INDEX).sum())
    assert dict(zip(found.documents, found.tokens, strict=True)) == {
        n: count for n, count in expected.items() if count
    }
