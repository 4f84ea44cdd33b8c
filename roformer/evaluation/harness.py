"""Runs x evaluators -> results files -> comparison -> report."""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from roformer.config import EvaluateConfig, TrainConfig
from roformer.errors import UserError
from roformer.evaluation import baselines
from roformer.evaluation.comparability import label_runs
from roformer.evaluation.comparison import compare
from roformer.evaluation.evaluators import EVALUATORS, LoadedRun
from roformer.evaluation.runs import Run, find_runs
from roformer.io import write_json
from roformer.position import POSITION_ENCODINGS
from roformer.report.headline import headline
from roformer.report.page import write_report
from roformer.runs import RunFolder
from roformer.runs.provenance import file_digest, provenance
from roformer.runtime.allocator import disable_malloc_trim
from roformer.runtime.precision import autocast, best_device
from roformer.tasks import TASKS
from roformer.tasks.factory import build_task
from roformer.tasks.language_modeling import LanguageModeling

SCHEMA_VERSION = 1


def evaluate(config: EvaluateConfig) -> Path:
    """Evaluates every run that has no up-to-date results, compares them all, and returns the report's page.

    Raises:
        UserError: if there are no finished runs, or the runs cannot be compared.
    """
    disable_malloc_trim()
    runs, unfinished = find_runs(config.patterns)
    for folder in unfinished:
        print(f"skipping {folder}: the run has not finished")
    labels = label_runs(run.description for run in runs)
    tasks = sorted({run.task for run in runs if issubclass(TASKS[run.task], LanguageModeling)})
    if len(tasks) > 1:
        raise UserError(f"losses of {' and '.join(tasks)} do not compare; narrow runs= to one of them")
    if config.reference not in labels.values():
        POSITION_ENCODINGS[config.reference]  # raises for a misspelt one; one without runs is told on the page
    output_dir = Path(config.output_dir or os.path.commonpath([run.folder.resolve().parent for run in runs]))
    results = []
    for run in runs:
        results += _evaluate_run(run, config, output_dir / "results")
    comparison = compare(results, config)
    here = provenance()
    comparison.update(created=here["created"], command=here["command"], evaluation_commit=here["git_commit"])
    report = output_dir / "report"
    report.mkdir(parents=True, exist_ok=True)
    write_json(report / "comparison.json", comparison)
    page = write_report(comparison, report)
    parts = {name: comparison[name] for name in ("lm", "classification", "translation")} | comparison["scores"]
    for name, warning in [(name, warning) for name, part in parts.items() if part for warning in part["warnings"]]:
        print(f"warning: {name}: {warning}", file=sys.stderr)
    print(headline(comparison))
    print(f"results: {output_dir / 'results'}\nreport:  {page}")
    return page


def _evaluate_run(run: Run, config: EvaluateConfig, folder: Path) -> list[dict[str, Any]]:
    """Returns the results of every evaluator that fits the run's task, from the files that are up to date."""
    loaded: LoadedRun | None = None

    def load() -> LoadedRun:
        nonlocal loaded
        loaded = loaded or load_run(run)
        return loaded

    results = []
    for name in EVALUATORS:
        evaluator = EVALUATORS[name](config)
        if not evaluator.fits(run):
            continue

        def measure() -> dict[str, Any]:
            with torch.inference_mode(), autocast(run.config["trainer"]["precision"], load().model.device):
                return evaluator.evaluate(load())  # noqa: B023  # called before the next round of the loop

        folder_of_run = RunFolder(run.folder)
        files = [file_digest(file) for file in (folder_of_run.exported_weights, folder_of_run.metrics_file)]
        key = _key(evaluator.version, files, run.data_fingerprint, config.length_factors, config.batch_tokens)
        results.append(_cached(folder / name / f"{run.name}.json", key, name, run, measure))
    if run.task == "classification" and run.scored_data is None:
        key = _key(baselines.VERSION, run.data_fingerprint, run.config["task"]["max_length"])
        file = folder / "baselines" / f"{run.config['data']['name']}.json"
        results.append(_cached(file, key, "baselines", run, lambda: baselines.baseline_metrics(load().task)))
    return results


def load_run(run: Run) -> LoadedRun:
    """Loads the exported model and the data of a finished run, with the tokenizer that was exported with it."""
    settings = {**run.config, "tokenizer": {"name": "pretrained", "path": str(run.export)}}
    train_config = TrainConfig.from_settings(settings)
    task = build_task(train_config)
    if task.corpus.fingerprint != run.data_fingerprint:
        raise UserError(
            f"the data, or the version of roformer, has changed since {run.folder} was trained, so that its test "
            "split may be another now; train anew"
        )
    if "test" not in task.corpus.splits:
        raise UserError(
            f"{run.folder} was trained on data without a test split; set data.test_fraction and train anew"
        )
    model = task.model_class.from_pretrained(run.export)  # in evaluation mode
    return LoadedRun(run, model.to(best_device()), task)


def _cached(file: Path, key: str, evaluator: str, run: Run, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns the results file if its key fits, else measures and writes it."""
    if file.is_file():
        stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if stored["key"] == key:
            return {**stored, "run": run.description}
    print(f"{evaluator}: {run.name}", flush=True)
    result = {
        "schema_version": SCHEMA_VERSION,
        "key": key,
        "evaluator": evaluator,
        "run": run.description,
        "metrics": measure(),
        "config": run.config,
        "trained": run.provenance,
        "evaluated": provenance(),
    }
    write_json(file, result)
    return result


def _key(version: int, *parts: object) -> str:
    return hashlib.sha256(repr((SCHEMA_VERSION, version, *parts)).encode()).hexdigest()[:16]
