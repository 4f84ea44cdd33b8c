"""Losses far above those before them."""

import numpy as np

from roformer.training.callbacks import Callback
from roformer.training.spikes import LossBand


def spikes(losses):
    band = LossBand([])
    return [step for step, loss in enumerate(losses) if band.excess(loss) is not None]


def test_a_spike_stands_out_of_noise():
    """Catches an alarm for ordinary noise or the first steps, and a spike that hides the next one."""
    rng = np.random.default_rng(0)
    losses = 4 * np.exp(-np.arange(500) / 100) + 2 + 0.1 * rng.standard_normal(500)
    assert spikes(losses) == []
    losses[[200, 203, 400]] += 2
    assert spikes(losses) == [200, 203, 400]
    assert spikes([1e-4, 3e-4] * 30) == []


def test_a_spike_is_told(tiny_runs, tmp_path, capsys):
    """Catches a band that begins anew at each resume, or a warning that nobody sees."""

    class Spike(Callback):
        def on_log(self, trainer, line):
            line["loss"] += 5 * (line["step"] == 18)

    tiny_runs.train(tmp_path / "run", "trainer.max_steps=20", callbacks=[Spike()])
    (warning,) = (line for line in capsys.readouterr().out.splitlines() if "after a median of" in line)
    assert warning.startswith("warning: the loss is ")
    assert " at step 18, " in warning
