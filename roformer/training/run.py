"""A run from its configuration to its export."""

import atexit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from roformer.config import TrainConfig
from roformer.errors import RunTakenError, UserError
from roformer.runs import RunFolder
from roformer.runs.provenance import record_part, record_place_of_data
from roformer.runtime.allocator import disable_malloc_trim
from roformer.runtime.precision import allow_tf32
from roformer.tasks.factory import build_task
from roformer.training.callbacks import Callback, standard_callbacks
from roformer.training.nonfinite import NonfiniteError
from roformer.training.plan import RunPlan
from roformer.training.processes import Processes
from roformer.training.trainer import Trainer
from roformer.training.validation import validate
from roformer.training.warm_start import fit_to_checkpoint


def train(config: TrainConfig, overridden: frozenset[str], callbacks: Sequence[Callback] = ()) -> None:
    """Trains the run that ``config`` describes, resumes it, or finds it finished.

    Args:
        config: as composed from ``conf/``.
        overridden: groups and values that the user set on the command line.
        callbacks: called before the standard ones.

    Raises:
        UserError: for a user's mistake; nothing has been trained or overwritten then.
        SystemExit: with 128 + its number after a signal; the run has been saved.
    """
    disable_malloc_trim()
    config = fit_to_checkpoint(config, overridden)
    validate(config, overridden)
    processes = Processes(config.trainer.timeout_minutes)
    state = processes.state
    atexit.register(state.destroy_process_group)  # its threads must not outlive the interpreter, which would abort
    processes.check_batch(config.trainer)
    folder = RunFolder(config.output_dir)
    with _locked(folder, Path(config.paths.cache_dir), state):
        with state.main_process_first():
            folder.remove_damaged_export(state.print)
        plan = RunPlan.resolve(config, folder, state.device)
        if folder.status == "finished":
            if (
                folder.config
                and folder.config["data"].get("path") != plan.config.data.get("path")
                and state.is_main_process
            ):
                record_place_of_data(folder, plan.config, build_task(plan.config).corpus)
            state.print(f"{folder.path} already finished; delete it to retrain")
            return
        state.print(plan.table())
        allow_tf32(plan.precision.value, state.device)
        task = build_task(plan.config)  # the first to come makes the caches
        processes.wait_for_prepared()
        state.print(task.summary())
        trainer = Trainer(plan.config, task, folder, [*callbacks, *standard_callbacks(plan.config)])
        if state.is_main_process:
            record_part(folder, plan.config, task.corpus, plan.losses_by_rate)
        try:
            with processes.watched(folder):
                trainer.fit()
        except NonfiniteError:
            if state.is_main_process:
                folder.record_divergence()
            raise


@contextmanager
def _locked(folder: RunFolder, cache_dir: Path, state: PartialState) -> Iterator[None]:
    """Keeps other processes, but those of this run, from training in the folder; makes both folders."""
    for key, path in (("output_dir", folder.path), ("cache_dir", cache_dir)):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to paths.{key}={path}: {error.strerror}") from error
    if foreign := folder.foreign_files():
        raise UserError(
            f"paths.output_dir={folder.path} holds {foreign[0]}, which is of no run; choose an empty or a new folder"
        )
    try:
        if not broadcast_object_list([folder.lock() if state.is_main_process else True])[0]:
            raise RunTakenError(folder.path)
        yield
    finally:
        folder.unlock()
