"""The two commands as a shell runs them: their help, and how they end when the user has made a mistake."""

import os

import pytest
from filelock import FileLock

from tests.tiny_runs import ROOT, metrics


@pytest.fixture(scope="module")
def pretrained(tiny_runs, tmp_path_factory):
    return tiny_runs.train(tmp_path_factory.mktemp("pretrained") / "run")


@pytest.fixture
def mistake(commands, tiny_runs, tmp_path):
    """Runs ``train.py`` with a mistake in it and returns the one line that it ends with."""

    def run(*overrides, task="mlm"):
        command = commands.run(
            "train.py", *tiny_runs.overrides(f"paths.output_dir={tmp_path / 'run'}", *overrides, task=task)
        )
        assert command.status == 1, command.stdout.read_text()
        (line,) = command.error_lines
        assert not (tmp_path / "run" / "metrics.jsonl").exists()
        assert not (tmp_path / "run" / "config.yaml").exists()  # which would claim the folder for wrong settings
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return run


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train.py", "evaluate.py"])
def test_help_lists_what_can_be_chosen(commands, script):
    """Catches a manual that is out of date, because it was written by hand."""
    command = commands.run(script, "--help")
    assert command.status == 0
    text = "\n".join(command.lines)
    if script == "train.py":
        for folder in sorted(ROOT.glob("conf/*/")):
            for choice in folder.glob("*.yaml"):
                assert any(line.startswith(folder.name) and choice.stem in line for line in command.lines), choice
    assert {"train.py": "sequence_length: 128", "evaluate.py": "length_factors:"}[script] in text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.max_step=3", "trainer has no setting 'max_step'; did you mean 'max_steps'?"),
        ("trainer.learning_rate=1", "trainer has no setting 'learning_rate'; did you mean optimizer.learning_rate?"),
        ("optimizer.max_steps=3", "optimizer has no setting 'max_steps'; did you mean trainer.max_steps?"),
        ("trainer.seed=3", "trainer has no setting 'seed'; did you mean seed?"),
        ("sede=3", "the configuration has no setting 'sede'; did you mean 'seed'?"),
        ("max_steps=3", "the configuration has no setting 'max_steps'; did you mean trainer.max_steps?"),
        ("data=docs", "data has no setting 'path'; it is a setting of data="),
        ("tracker", "cannot read the argument 'tracker': write group.key=value"),
        ("attention.num_features=8", "attention has no setting 'num_features'; it is a setting of attention=favor"),
        ("+attention.num_features=8", "attention backend 'sdpa' has no setting 'num_features'"),
        ("data.path=a[1", "cannot read the argument 'data.path=a[1': write group.key=value without blanks"),
        ("positon=rope", "the configuration has no setting 'positon'; did you mean 'position'?"),
        ("position=rop", "unknown position 'rop'; did you mean 'rope'? (available: alibi, cope, "),
        ("experiment=paper/mlm_smal", "unknown experiment 'paper/mlm_smal'; did you mean 'paper/mlm_small'?"),
        ("trainer.max_steps=many", "trainer.max_steps: Value 'many' of type 'str' could not be converted to Integer"),
        ("trainer.batch_size=0", "trainer.batch_size must be at least 1, got 0"),
        ("data=text data.path=???", "data.path needs a value: give data.path=..."),
        (
            "trainer.batch_size=9 trainer.gradient_accumulation_steps=2",
            "trainer.batch_size 9 is not a multiple of trainer.gradient_accumulation_steps 2",
        ),
    ],
)
def test_mistakes_in_the_settings(mistake, override, message):
    """Catches a mistake that passes, or ends in a traceback or in Hydra's own account of half a page."""
    assert mistake(*override.split()).startswith(message)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.path=no/such/place", "data.path=no/such/place does not exist (give a file or a folder; relative to"),
        ("model.num_attention_heads=32", "rope rotates pairs of channels and needs an even number of them, got 1"),
        ("model.num_attention_heads=5", "hidden_size 32 is not a multiple of num_attention_heads 5"),
        ("scheduler.name=linaer", "unknown scheduler 'linaer'; did you mean 'linear'?"),
        ("task.mask_probability=lots", "task 'mlm': mask_probability='lots' is not possible"),
        (
            "position=learned task.sequence_length=4096",
            "task.sequence_length=4096 is longer than the table of learned positions, "
            "model.max_position_embeddings=2048; lower the one or raise the other",
        ),
        ("tokenizer.vocab_size=50", "tokenizer.vocab_size=50 is too small for 5 special tokens and two "),
        ("position.rope_thet=500", "position encoding 'rope' has no setting 'rope_thet'; did you mean 'rope_theta'?"),
    ],
)
def test_mistakes_that_show_later(mistake, override, message):
    """Catches a mistake that costs the preparation of the data, or the first part of the training."""
    assert message in mistake(*override.replace("position.rope_thet", "+position.rope_thet").split())


def test_synthetic_documents_are_read_whole(commands, tmp_path):
    """Catches an accuracy at chance because the answer is never seen."""
    chosen = ("task=classification", "data=recall", "task.max_length=100", f"paths.output_dir={tmp_path / 'run'}")
    command = commands.run("train.py", *chosen, "tracker=none")
    (line,) = command.error_lines
    told = "task.max_length=100 cuts documents of data.length=126 words, and with them the answer; it needs 128"
    assert (command.status, line) == (1, f"error: {told}")


def test_an_empty_corpus(mistake, tmp_path):
    """Catches training on nothing."""
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("\n \n")
    assert mistake(f"data.path={tmp_path / 'text'}").startswith(f"no documents in data.path={tmp_path / 'text'}")


def test_a_label_column_that_is_not_there(mistake):
    """Catches a KeyError of pandas."""
    line = mistake("data.label_column=topic", task="classification")
    assert "'topic'" in line
    assert "label" in line


def test_a_vocabulary_that_does_not_fit_the_checkpoint(mistake, pretrained):
    """Catches embeddings of other tokens."""
    another = ("tokenizer=wordpiece", "tokenizer.vocab_size=150")
    line = mistake(f"init_from={pretrained}", *another, task="classification")
    assert line.startswith("the tokenizer gives other numbers to its tokens than the one in ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "runs needs a value: give runs=..."),
        (
            ("runs=no/such/*",),
            "runs=['no/such/*'] matches no finished run (0 other folders); give output folders of train.py",
        ),
        (("runs=5",), "runs must be a pattern or a list of patterns such as outputs/*, got 5"),
        (("runs=a", "length_factors=[2,3]"), "length_factors must be whole numbers from 1 on, each a divisor of the"),
        (("runs=a", "refrence=rope"), "the configuration has no setting 'refrence'; did you mean 'reference'?"),
    ],
)
def test_mistakes_in_an_evaluation(commands, arguments, message):
    """Catches an empty report, and a traceback about a folder."""
    command = commands.run("evaluate.py", *arguments)
    assert (command.status, command.lines) == (1, [])
    (line,) = command.error_lines
    assert line.startswith(f"error: {message}")


@pytest.mark.slow
def test_runs_here_and_there_are_compared(commands, tiny_runs, pretrained):
    """Catches a traceback where one run is given by an absolute path and another by a relative one."""
    other = tiny_runs.train(pretrained.with_name("other"), "seed=2")
    command = commands.run("evaluate.py", f"runs=[{pretrained},{os.path.relpath(other, ROOT)}]")
    assert command.status == 0, command.stderr.read_text()
    assert (pretrained.parent / "report" / "index.html").is_file()


@pytest.mark.slow
def test_a_sweep_trains_each_combination(commands, tiny_runs, tmp_path):
    """Catches state that one run leaves to the next in the same process, such as the precision."""
    swept = ("trainer.precision=bf16,fp32", f"paths.output_dir={tmp_path}/${{trainer.precision}}")
    command = commands.run("train.py", "--multirun", f"hydra.sweep.dir={tmp_path}", *tiny_runs.overrides(*swept))
    assert command.status == 0, command.stderr.read_text()
    bf16, fp32 = (metrics(tmp_path / precision) for precision in ("bf16", "fp32"))
    assert bf16[-1]["step"] == fp32[-1]["step"] == 8
    assert bf16[0]["loss"] != fp32[0]["loss"]
    alone = tiny_runs.train(tmp_path / "alone", "trainer.precision=fp32")
    assert metrics(alone) == fp32


@pytest.mark.slow
def test_a_sweep_goes_on_after_a_run_that_fails(commands, tiny_runs, tmp_path):
    """Catches one diverged run of a night's sweep that costs all that come after it."""
    swept = ("optimizer.learning_rate=1e30,1e-3", f"paths.output_dir={tmp_path}/${{optimizer.learning_rate}}")
    command = commands.run("train.py", "--multirun", f"hydra.sweep.dir={tmp_path}", *tiny_runs.overrides(*swept))
    assert command.status == 1
    told, last = command.error_lines
    assert told.startswith("error: the loss is ")
    assert last == "error: 1/2 runs failed; see the messages above, then re-run the same command"
    assert not (tmp_path / "1e+30" / "export").exists()
    assert (tmp_path / "0.001" / "export").is_dir()


@pytest.mark.slow
def test_a_bug_in_a_sweep_keeps_its_traceback(commands, tiny_runs, tmp_path):
    """Catches an error of ours that a sweep counts and never shows."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / ".lock").mkdir()  # which no user does
    swept = ("seed=1,2", f"paths.output_dir={tmp_path}/${{seed}}")
    command = commands.run("train.py", "--multirun", f"hydra.sweep.dir={tmp_path}", *tiny_runs.overrides(*swept))
    assert command.status == 1
    assert "Traceback (most recent call last):" in command.error_lines
    assert any(line.startswith("IsADirectoryError") for line in command.error_lines)
    assert command.error_lines[-1] == "error: 1/2 runs failed; see the messages above, then re-run the same command"
    assert (tmp_path / "2" / "export").is_dir()


@pytest.mark.slow
def test_runs_of_a_sweep_at_the_same_time(commands, tiny_runs, tmp_path):
    """Catches a run that no process makes, another result than alone, and a failure that only one of them knows."""
    rates = ("1e-3", "1e30", "2e-3")
    swept = (f"optimizer.learning_rate={','.join(rates)}", f"paths.output_dir={tmp_path}/${{optimizer.learning_rate}}")
    together = ("hydra.callbacks.progress.processes=2", f"hydra.sweep.dir={tmp_path}")
    command = commands.run("train.py", "--multirun", *together, *tiny_runs.overrides(*swept))
    assert command.status == 1
    told, last = command.error_lines
    assert told.startswith("error: the loss is ")
    assert last == "error: 1/3 runs failed; see the messages above, then re-run the same command"
    numbers = [line.split(",")[0] for line in command.stdout.read_text().splitlines() if line.startswith("run ")]
    assert sorted(numbers) == ["run 1 of 3", "run 2 of 3", "run 3 of 3"]
    alone = tiny_runs.train(tmp_path / "alone", "optimizer.learning_rate=2e-3")
    assert metrics(tmp_path / "0.002") == metrics(alone)
    assert (tmp_path / "0.001" / "export").is_dir()


@pytest.mark.slow
def test_processes_share_a_sweep(commands, tiny_runs, tmp_path):
    """Catches a second process that ends in an error, or trains in a folder that is not its own."""
    (tmp_path / "1").mkdir()
    swept = ("seed=1,2", f"paths.output_dir={tmp_path}/${{seed}}")
    with FileLock(tmp_path / "1" / ".lock"):
        command = commands.run("train.py", "--multirun", f"hydra.sweep.dir={tmp_path}", *tiny_runs.overrides(*swept))
    left, last = command.error_lines
    assert command.status == 1
    assert left == f"skipped: another process is training in {tmp_path / '1'}; wait for it or stop it"
    told = "1/2 runs still running in another process; see the messages above, then re-run the same command"
    assert last == f"error: {told}"
    assert not (tmp_path / "1" / "config.yaml").exists()
    assert (tmp_path / "2" / "export").is_dir()


@pytest.mark.slow
def test_evaluation_prints_where_the_report_is(commands, pretrained, tmp_path):
    """Catches a command that ends without a word on what it has made."""
    command = commands.run("evaluate.py", f"runs={pretrained}", "length_factors=[1]", f"output_dir={tmp_path}")
    assert command.status == 0, command.stderr.read_text()
    assert command.lines[-1].split() == ["report:", str(tmp_path / "report" / "index.html")]
