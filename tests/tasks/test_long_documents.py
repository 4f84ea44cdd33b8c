"""What a classifier reads of documents that are longer than its sequences."""

import numpy as np
import pytest
import torch
import yaml

from roformer.errors import UserError
from roformer.model import RoFormerLabConfig
from roformer.runs import RunFolder
from roformer.tasks.framing import Framing
from roformer.tokenizer.pretrained import load_tokenizer
from roformer.training.run import train
from roformer.training.warm_start import build_model

CLS, SEP = 101, 102


def framed(long_documents, length, max_length=12):
    """The sequences of a document of the tokens 0, 1, 2, ..., without their special tokens."""
    framing = Framing(CLS, SEP, max_length, long_documents)
    document = framing.frame(np.arange(length))
    inputs = framing.pack([document])
    sequences = np.split(inputs["input_ids"][0].numpy(), inputs["cu_seqlens"][1:-1])
    assert all((sequence[0], sequence[-1]) == (CLS, SEP) for sequence in sequences)
    assert max(map(len, sequences)) <= max_length
    return [sequence[1:-1].tolist() for sequence in sequences]


@pytest.mark.parametrize("long_documents", ["head", "head_tail", "windows"])
@pytest.mark.parametrize("length", [0, 1, 9, 10])
def test_a_short_document_is_read_whole(long_documents, length):
    """Catches a choice that changes what it is not about."""
    assert framed(long_documents, length) == [list(range(length))]


def test_what_is_read_of_a_long_document():
    """Catches a tail of the wrong length, and one that is the beginning again."""
    assert framed("head", 30) == [list(range(10))]
    assert framed("head_tail", 30) == [[0, 1, 2, *range(23, 30)]]
    assert framed("head_tail", 30, max_length=3) == [[0]]
    (kept,) = framed("head_tail", 1000, max_length=512)
    assert (kept.index(127), kept[128]) == (127, 1000 - 382)  # 128 and 382, as in Sun et al. 2019


@pytest.mark.parametrize("length", [11, 14, 15, 16, 25, 26, 99])
def test_windows_cover_the_document(length):
    """Catches a tail that no window reads, windows that do not overlap, and one that is shorter than the others."""
    windows = framed("windows", length)
    assert {len(window) for window in windows} == {10}
    assert (windows[0][0], windows[-1][-1]) == (0, length - 1)
    starts = [window[0] for window in windows]
    assert set(np.diff(starts)) <= {1, 2, 3, 4, 5}
    assert len(windows) == 1 + -(-(length - 10) // 5)


@pytest.fixture
def windows(make_task):
    """A task of whose documents most are longer than a window."""
    return make_task("classification", "task.max_length=12", "task.long_documents=windows")


def test_the_logits_of_windows_are_averaged(tiny_runs, windows):
    """Catches windows of one document that are averaged into another, a label per window, and a loss of another
    prediction than the one that is scored."""
    model = build_model(tiny_runs.config("unused", task="classification"), windows).eval()
    torch.nn.init.normal_(model.classifier.weight)
    split, room = windows.corpus.splits["test"], 10
    expected = []
    for index in range(len(split)):
        tokens = split.document(index).astype(np.int64)
        last = max(len(tokens) - room, 0)
        starts = [*range(0, last, room // 2), last]
        special = windows.tokenizer
        rows = [[special.cls_token_id, *tokens[at : at + room], special.sep_token_id] for at in starts]
        with torch.no_grad():
            expected.append(torch.cat([model(torch.tensor([row])).logits for row in rows]).mean(0))
    scores, loss = windows.score(model, "test", batch_tokens=60)
    torch.testing.assert_close(torch.tensor(scores[:, 0]), torch.stack(expected))
    labels = torch.tensor(windows.labels("test"))
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(torch.stack(expected), labels).item(), rel=1e-5)


def test_a_batch_of_windows_has_one_label_for_each_document(windows):
    """Catches a loss that counts long documents more often than short ones."""
    inputs = windows.batch(0, 8, share=0, shares=1).inputs
    assert len(inputs["labels"]) == len(inputs["cu_windows"]) - 1 == 8
    assert len(inputs["cu_seqlens"]) - 1 == inputs["cu_windows"][-1] > 8


def test_documents_that_fit_have_no_windows(make_task):
    """Catches work, and other last bits, where no document is long."""
    inputs = [
        make_task("classification", "task.max_length=400", f"task.long_documents={each}").batch(
            0, 8, share=0, shares=1
        )
        for each in ("head", "windows")
    ]
    assert [set(each.inputs) for each in inputs] == [{"input_ids", "cu_seqlens", "document_lengths", "labels"}] * 2
    assert all(np.array_equal(inputs[0].inputs[key], inputs[1].inputs[key]) for key in inputs[0].inputs)


def test_windows_of_pairs_are_refused(make_task, tmp_path):
    """Catches a pair whose texts are cut at different places."""
    rows = [f"{'a' * n},b {n},{n % 2}" for n in range(1, 80)]
    (tmp_path / "pairs.csv").write_text("\n".join(["one,two,label", *rows]))
    data = (f"data.path={tmp_path / 'pairs.csv'}", "data.text_column=[one,two]")
    assert make_task("classification", *data, "task.long_documents=head_tail").corpus.texts == 2
    with pytest.raises(UserError, match=r"task\.long_documents=windows needs documents of one text, the data has 2"):
        make_task("classification", *data, "task.long_documents=windows")


def test_another_choice_is_refused(make_task):
    """Catches a misspelled choice that is taken for the default."""
    with pytest.raises(
        UserError, match=r"long_documents='tail' is not possible \(allowed: head, head_tail, windows\)"
    ):
        make_task("classification", "task.long_documents=tail")


def test_a_run_from_before_the_setting_continues(tiny_runs, tmp_path, capsys):
    """Catches a run without the setting that is refused as one of other settings."""
    run = RunFolder(tiny_runs.train(tmp_path / "run", task="classification"))
    file = run.path / "config.yaml"
    stored = yaml.safe_load(file.read_text())
    assert stored["task"].pop("long_documents") == "head"
    file.write_text(yaml.safe_dump(stored))
    train(tiny_runs.config(run.path, task="classification"), frozenset())
    assert "already finished" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"holds a run with task\.long_documents=head, now it is windows"):
        train(tiny_runs.config(run.path, "task.long_documents=windows", task="classification"), frozenset())


def test_an_export_says_what_was_read(tiny_runs, tmp_path):
    """Catches an export that cannot be used as it was trained without its run."""
    run = tiny_runs.train(tmp_path / "run", "task.long_documents=windows", task="classification")
    assert load_tokenizer(str(run / "export")).model_max_length == 32
    assert RoFormerLabConfig.from_pretrained(run / "export").long_documents == "windows"
