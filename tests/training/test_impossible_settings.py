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
    "optimizer.betas=[1.5,0.98]",
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
def test_impossible_values_are_refused(tiny_runs, tmp_path, override):
    """Catches a traceback, a run that climbs the gradient, and one that dies at its first evaluation."""
    key = override.partition("=")[0].rpartition(".")[2]
    with pytest.raises(UserError, match=key) as error:
        tiny_runs.train(tmp_path / "run", override)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("task", "overrides", "message"),
    [
        ("mlm", ("task.mask_probability=lots",), "mask_probability='lots' is not possible"),
        ("mlm", ("tokenizer.vocab_size=lots",), "vocab_size='lots' is not possible"),
        ("mlm", ("position=learned", "model.max_position_embeddings=31"), "sequence_length=32 is longer than the"),
        ("mlm", ("task.sequence_length=-5",), "task.sequence_length must be at least 3, got -5"),
        ("classification", ("task.max_length=0",), "task.max_length must be at least 3, got 0"),
        ("translation", ("task.max_length=-1",), "task.max_length must be at least 3, got -1"),
        ("mlm", ("+model.decoder_layers=2",), "decoder_layers=2 is for an encoder-decoder"),
        ("translation", ("model.embedding_size=16",), "embedding_size 16 is not hidden_size"),
        ("translation", ("position=t5", "position.max_distance=10"), "max_distance above the 16"),
    ],
)
def test_they_are_refused_before_the_data_are_prepared(tiny_runs, monkeypatch, tmp_path, task, overrides, message):
    """Catches a mistake that shows after hours of tokenizing."""
    monkeypatch.setattr("roformer.training.run.build_task", None)  # calling it would fail
    with pytest.raises(UserError, match=message):
        tiny_runs.train(tmp_path / "run", *overrides, task=task)


def test_a_run_that_diverges_ends_in_a_line(tiny_runs, tmp_path):
    """Catches hours of training on a loss that is no number."""
    with pytest.raises(UserError, match=r" at step \d+: batch \d+, rows .*; lower optimizer.learning_rate") as error:
        tiny_runs.train(tmp_path / "run", "optimizer.learning_rate=1e38", "scheduler.warmup_ratio=0")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "export").exists()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ACCELERATE_USE_FSDP", "true", "asks for FSDP, which is not supported: every process holds the whole model"),
        ("ACCELERATE_USE_DEEPSPEED", "true", "asks for DeepSpeed, which is not supported"),
        ("ACCELERATE_MIXED_PRECISION", "fp16", "choose bf16 or no there, and trainer.precision=bf16 or fp32 here"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", "set trainer.gradient_accumulation_steps=4 instead"),
    ],
)
def test_what_accelerate_launch_may_not_ask_for(tiny_runs, tmp_path, monkeypatch, variable, value, message):
    """Catches a configuration of Accelerate that is ignored in silence, or divides the gradients once more."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError) as error:
        tiny_runs.train(tmp_path / "run")
    assert message in str(error.value)
    assert not (tmp_path / "run" / "config.yaml").exists()
