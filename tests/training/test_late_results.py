"""Results of steps that are read after the update, as on an accelerator, where the host does not wait for them."""

from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import load_file

from roformer.errors import UserError
from roformer.optim import OPTIMIZERS
from roformer.training.results import StepResults
from tests.tiny_runs import ROOT, assert_same_run, metrics
from tests.training.test_nonfinite import Poison

SELDOM = ("trainer.logging_steps=3", "trainer.save_steps=4", "trainer.eval_steps=8")


@pytest.fixture
def reads_late(monkeypatch):
    """Lets runs on the CPU read late; counts how often a result was there but unread."""
    counts = []
    init, read = StepResults.__init__, StepResults.read

    def late(self, *arguments):
        init(self, *arguments)
        self.are_read_late = True

    def counting(self, *, but):
        yield from read(self, but=but)
        counts.append(len(self._unread))

    def switch():
        monkeypatch.setattr(StepResults, "__init__", late)
        monkeypatch.setattr(StepResults, "read", counting)
        return counts

    return switch


def test_a_run_is_the_same(tiny_runs, tmp_path, reads_late):
    """Catches a loss or a number of tokens that is lost, or counted in another line or checkpoint."""
    whole = tiny_runs.train(tmp_path / "whole", *SELDOM)
    counts = reads_late()
    run = tiny_runs.train(tmp_path / "run", *SELDOM)
    assert max(counts) == 1
    assert_same_run(run, whole)


@pytest.mark.parametrize("remedy", ["skip", "restore"])
@pytest.mark.parametrize("batches", [(1,), (2,), (3, 4), (7,)], ids=str)
@pytest.mark.parametrize("gradient", [False, True], ids=["loss", "gradient"])
def test_a_batch_is_skipped_all_the_same(tiny_runs, tmp_path, reads_late, capsys, remedy, batches, gradient):
    """Catches an update with NaN, a step that is done twice, and a line or a checkpoint that is lost with it."""
    chosen = (*SELDOM, f"trainer.nonfinite={remedy}")
    whole = tiny_runs.train(tmp_path / "whole", *chosen, callbacks=[Poison(*batches, gradient=gradient)])
    said = [line for line in capsys.readouterr().out.splitlines() if "continuing" in line]
    reads_late()
    run = tiny_runs.train(tmp_path / "run", *chosen, callbacks=[Poison(*batches, gradient=gradient)])
    says = [line for line in capsys.readouterr().out.splitlines() if "continuing" in line]
    assert len(said) == len(batches)
    assert says == said if remedy == "skip" else len(says) == len(said)
    assert_same_run(run, whole)


@pytest.mark.parametrize("gradient", [False, True], ids=["loss", "gradient"])
def test_a_run_stops_with_the_same_message(tiny_runs, tmp_path, reads_late, gradient):
    """Catches a message about another batch, and a checkpoint of NaN."""
    messages = []
    for name in ("whole", "run"):
        with pytest.raises(UserError) as error:
            tiny_runs.train(tmp_path / name, *SELDOM, callbacks=[Poison(4, gradient=gradient)])
        messages.append(str(error.value).replace(str(tmp_path / name), ""))
        reads_late()
    assert messages[0] == messages[1]
    (stored,) = (tmp_path / "run" / "checkpoints").glob("step_*")
    assert all(torch.isfinite(weight).all() for weight in load_file(stored / "model.safetensors").values())
    assert [line["step"] for line in metrics(tmp_path / "run")] == [3]


@pytest.mark.parametrize(("optimizer", "device", "late"), [
    ("adamw", "meta", True), ("muon", "meta", False), ("adamw", "cpu", False),
])  # fmt: skip
def test_who_reads_late(tiny_model, optimizer, device, late):
    """Catches Muon, which would take a step with NaN before anybody reads that it is one."""
    settings = yaml.safe_load((ROOT / f"conf/optimizer/{optimizer}.yaml").read_text())
    built = OPTIMIZERS.build(settings).build(tiny_model())
    accelerator = SimpleNamespace(device=torch.device(device))
    assert StepResults(accelerator, SimpleNamespace(optimizer=built)).are_read_late == late
