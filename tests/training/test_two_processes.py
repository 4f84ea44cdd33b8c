"""Two processes that talk over gloo train what one process trains."""

import shutil
import signal
import socket

import pytest

from tests.commands import wait_until
from tests.tiny_runs import assert_same_run, metrics, weights

pytestmark = pytest.mark.slow

# steps follow the size of the gradient, which Adam's usual epsilon and clipping would hide
PROPORTIONAL = ("optimizer.eps=10", "optimizer.learning_rate=3", "trainer.max_grad_norm=1e9")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def start_pair(commands):
    """Starts ``train.py`` as two processes with what torchrun sets for each."""

    def start(*overrides, then=None):
        shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        ranks = ({"RANK": rank, "LOCAL_RANK": rank} for rank in "01")
        started = [commands.start("train.py", *overrides, **shared, **rank) for rank in ranks]
        if then:
            then(started)
        return [command if command.status is not None else command.wait() for command in started]

    return start


@pytest.fixture(scope="module")
def alone(tiny_runs):
    """A finished run of one process."""
    return tiny_runs.train(tiny_runs.folder / "alone", *PROPORTIONAL)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tmp_path_factory.mktemp("two_processes") / "run"


@pytest.fixture(scope="module")
def pair(commands, tiny_runs, run):
    """The same run of two processes, started by torchrun."""
    place = ("--nproc_per_node", 2, "--master_addr", "127.0.0.1", "--master_port", free_port())
    overrides = tiny_runs.overrides(f"paths.output_dir={run}", *PROPORTIONAL)
    command = commands.start_fresh("-m", "torch.distributed.run", *place, "train.py", *overrides).wait()
    assert command.status == 0, command.stderr.read_text()
    return command


@pytest.fixture
def half(pair, run, tmp_path):
    """A copy of that run as it was after four of its eight steps."""
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "export")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step_00000008")
    return tmp_path / "run"


def assert_close_run(run, other):
    """The same up to the order in which float32 numbers are summed."""
    assert len(metrics(run)) == len(metrics(other))
    for ours, theirs in zip(metrics(run), metrics(other), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for name, weight in weights(run).items():
        assert (weight - weights(other)[name]).abs().max() < 1e-3, name


def test_two_processes_train_what_one_does(pair, run, alone):
    """Catches gradients summed instead of averaged, a batch cut wrongly, and a loss that one process alone knows."""
    assert_close_run(run, alone)


def test_one_process_speaks_and_writes(pair, run):
    """Catches every line and every file written once by each process."""
    assert sum(line.startswith("finished: ") for line in pair.lines) == 1
    assert [line["step"] for line in metrics(run)] == list(range(1, 9))


def test_two_processes_go_on_from_a_checkpoint(half, run, start_pair, tiny_runs):
    """Catches a checkpoint that only the first process can load, so that the two drift apart."""
    first, second = start_pair(*tiny_runs.overrides(f"paths.output_dir={half}", *PROPORTIONAL))
    assert (first.status, second.status) == (0, 0), second.stderr.read_text()
    assert f"resuming from {half / 'checkpoints' / 'step_00000004'}" in first.lines
    assert second.lines == []
    assert_same_run(half, run)


def test_one_process_goes_on_where_two_stopped(half, tiny_runs, alone):
    """Catches a checkpoint that fits one number of processes only."""
    tiny_runs.train(half, *PROPORTIONAL)
    assert_close_run(half, alone)


def test_a_batch_that_two_cannot_share_is_refused(start_pair, tiny_runs, tmp_path):
    """Catches shares of unequal size, which weigh some sequences more than others."""
    odd = ("trainer.batch_size=3", f"paths.output_dir={tmp_path / 'run'}")
    first, second = start_pair(*tiny_runs.overrides(*odd))
    assert (first.status, second.status) == (1, 1)
    assert first.error_lines == [
        "error: trainer.batch_size 3 is not a multiple of 2 processes x trainer.gradient_accumulation_steps 1"
    ]
    assert second.error_lines == []


@pytest.mark.parametrize("hung", [0, 1])
def test_a_process_that_hangs_is_named(start_pair, tiny_runs, tmp_path, hung):
    """Catches a job that burns its whole allocation, because one of its machines has stopped."""
    run = tmp_path / "run"
    long = ("trainer.max_steps=100000", "trainer.logging_steps=1000", "trainer.eval_steps=100000")
    overrides = tiny_runs.overrides(f"paths.output_dir={run}", "trainer.timeout_minutes=0.25", *long)

    def stop(commands):
        wait_until(lambda: list(run.glob("checkpoints/step_*")))
        commands[hung].send(signal.SIGSTOP)
        commands[1 - hung].wait()
        commands[hung].send(signal.SIGKILL)

    commands = start_pair(*overrides, then=stop)
    (line,) = commands[1 - hung].error_lines
    assert line.startswith(f"error: process {hung} has not answered for 0.25 minutes")
    assert commands[1 - hung].status == 1
