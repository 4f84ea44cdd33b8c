"""Values that no run can have die in a line before anything is trained."""

import pytest

from roformer.errors import UserError

REFUSED = [
    "trainer.max_steps=0",
    "trainer.batch_size=-8",
    "trainer.eval_steps=0",
    "trainer.precision=fp16",
    "seed=-1",
    "optimizer.learning_rate=-1",
    "optimizer.beta1=1.5",
    "optimizer.weight_decay=-0.1",
    "scheduler.warmup_ratio=2",
    "scheduler.warmup_ratio=-0.1",
    "trainer.max_grad_norm=-1",
    "trainer.max_grad_norm=0",
    "trainer.early_stopping_patience=0",
    "task.max_eval_rows=0",
    "data.validation_fraction=0",
    "model.hidden_dropout_prob=1.5",
    "model.num_hidden_layers=-1",
    "model.initializer_range=-1",
    "seed=99999999999999999999999",
    "paths.cache_dir=/dev/null/cache",
]


@pytest.mark.parametrize("override", REFUSED)
def test_impossible_values_are_refused(workshop, tmp_path, override):
    """Catches a traceback, a run that climbs the gradient, and one that dies at its first evaluation."""
    key = override.partition("=")[0].rpartition(".")[2]
    with pytest.raises(UserError, match=key) as error:
        workshop.train(tmp_path / "run", override)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_run_that_diverges_ends_in_a_line(workshop, tmp_path):
    """Catches hours of training on a loss that is no number."""
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step \d+; lower optimizer.learning_rate") as error:
        workshop.train(tmp_path / "run", "optimizer.learning_rate=1e38", "scheduler.warmup_ratio=0")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "export").exists()
