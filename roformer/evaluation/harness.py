"""Runs x evaluators -> results files -> comparison -> report."""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from roformer.config import EvaluateConfig, TrainConfig
from roformer.data.corpus import missing_path
from roformer.errors import UserError, one_line
from roformer.evaluation.comparability import label_runs
from roformer.evaluation.comparison import compare
from roformer.evaluation.runs import Run, find_runs
from roformer.io import file_digest, write_json
from roformer.position import POSITION_ENCODINGS
from roformer.report.page import headline, warnings, write_report
from roformer.results.comparison import comparison_to_json
from roformer.results.records import Record
from roformer.results.schema import from_json, to_json
from roformer.runs import RunFolder
from roformer.runs.provenance import provenance
from roformer.runtime.allocator import disable_malloc_trim
from roformer.runtime.precision import autocast, best_device
from roformer.sections import in_page_order
from roformer.sections.evaluator import Evaluator, LoadedRun, discover
from roformer.tasks.factory import build_task
from roformer.training.export import read_model

SCHEMA_VERSION = 3  # of results files


def evaluate(config: EvaluateConfig) -> Path:
    """Evaluates every run that has no up-to-date results, compares them all, and returns the report's page.

    Raises:
        UserError: if there are no finished runs, or the runs cannot be compared.
    """
    disable_malloc_trim()
    runs, unfinished = find_runs(config.patterns)
    for folder in unfinished:
        print(f"skipping {folder}: the run has not finished")
    _check(runs, config.reference)
    output_dir = Path(config.output_dir or os.path.commonpath([run.folder.resolve().parent for run in runs]))
    if any(path.exists() and not path.is_dir() for path in (output_dir, *output_dir.parents)):
        raise UserError(f"output_dir={output_dir} is a file, or lies below one; give a folder")
    records = [record for run in runs for record in _evaluate_run(run, config, output_dir / "results")]
    comparison = compare(records, config, provenance())
    report, sections = output_dir / "report", in_page_order()
    report.mkdir(parents=True, exist_ok=True)
    versions = {name: section.version for name, section in sections}
    write_json(report / "comparison.json", comparison_to_json(comparison, versions))
    page = write_report(comparison, report, sections)
    for warning in warnings(comparison, sections):
        print(f"warning: {warning}", file=sys.stderr)
    print(headline(comparison, sections))
    print(f"results: {output_dir / 'results'}\nreport:  {page}")
    return page


def _check(runs: list[Run], reference: str) -> None:
    """Raises ``UserError`` if runs do not compare, or the reference is no encoding."""
    labels = label_runs(run.info for run in runs)
    tasks: dict[tuple[str, str | None], set[str]] = {}
    for run in runs:
        tasks.setdefault((run.family, run.info.data), set()).add(run.task)
    for (family, _), names in tasks.items():
        if len(names) > 1:
            found = " and ".join(sorted(names))
            raise UserError(f"results of {found} ({family}) do not compare; narrow runs= to one of them")
    if reference not in labels.values():
        POSITION_ENCODINGS[reference]  # raises for a misspelled one; the page says that one has no runs


def _evaluate_run(run: Run, config: EvaluateConfig, folder: Path) -> list[Record[Any]]:
    """Returns the records of every evaluator that fits the run, from the results files that are up to date."""
    loaded: LoadedRun[Any] | None = None
    records, evaluators = [], discover()
    for name in evaluators:
        evaluator = evaluators[name](config)
        if run.family not in evaluator.families or not evaluator.fits(run.config):
            continue
        file, key = _results_file(run, name, evaluator, folder)
        if (stored := _stored(file, key)) is not None:
            metrics = from_json(evaluator.metrics, stored, str(file))
        else:
            print(f"{name}: {run.name}", flush=True)
            loaded = loaded or load_run(run)
            with torch.inference_mode(), autocast(run.config["trainer"]["precision"], loaded.model.device):
                metrics = evaluator.evaluate(loaded)
            _store(file, key, name, run, metrics)
        records.append(Record(run.info, metrics, run.config, run.provenance))
    return records


def load_run(run: Run) -> LoadedRun[Any]:
    """Loads the exported model and the data of a finished run, with the tokenizer that was exported with it."""
    settings = {**run.config, "data": run.data, "tokenizer": {"name": "pretrained", "path": str(run.export)}}
    if path := missing_path(run.data):
        raise UserError(
            f"data.path={path} of {run.folder} does not exist; if the data have moved, re-run the training command of "
            "the run with the new data.path"
        )
    task = build_task(TrainConfig.from_settings(settings))
    if task.corpus.fingerprint != run.data_fingerprint:
        raise UserError(
            f"the data, or the version of roformer, has changed since {run.folder} was trained, so its test split may "
            "be another now; train anew"
        )
    if "test" not in task.corpus.splits:
        raise UserError(
            f"{run.folder} was trained on data without a test split; set data.test_fraction and train anew"
        )
    model = read_model(task.model_class, run.export)
    return LoadedRun(run.folder, run.config, model.to(best_device()), task)


def _results_file(run: Run, name: str, evaluator: Evaluator[Any, Any], folder: Path) -> tuple[Path, str]:
    """Returns where the metrics of an evaluator are kept, and the key of all that they depend on."""
    if evaluator.scope == "data":
        key = _key(evaluator.version, run.data_fingerprint, run.config["task"])
        return folder / name / f"{run.config['data']['name']}-{key}.json", key
    trained = RunFolder(run.folder)
    files = [file_digest(file) for file in (trained.exported_weights, trained.metrics_file)]
    key = _key(evaluator.version, files, run.data_fingerprint, *evaluator.settings)
    return folder / name / f"{run.name}.json", key


def _stored(file: Path, key: str) -> Any:
    """Returns the metrics in a results file whose key fits and that is as it was written, else None."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        is_up_to_date = stored["key"] == key
        if is_up_to_date and stored["digest"] == _key(0, stored["metrics"]):
            return stored["metrics"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{file} cannot be read ({one_line(error)}); measuring again")
        return None
    if is_up_to_date:
        print(f"{file} has changed since it was written; measuring again")
    return None


def _store(file: Path, key: str, evaluator: str, run: Run, metrics: object) -> None:
    """Raises ``UserError`` if a metric is not finite."""
    plain = to_json(metrics)
    content = {
        "schema_version": SCHEMA_VERSION,
        "key": key,
        "evaluator": evaluator,
        "run": to_json(run.info),
        "digest": _key(0, plain),
        "metrics": plain,
        "config": run.config,
        "trained": run.provenance,
        "evaluated": provenance(),
    }
    try:
        write_json(file, content)
    except ValueError as error:
        raise UserError(f"{evaluator} of {run.folder} is not finite; leave that run out of runs=") from error


def _key(version: int, *parts: object) -> str:
    return hashlib.sha256(repr((SCHEMA_VERSION, version, *parts)).encode()).hexdigest()[:16]
