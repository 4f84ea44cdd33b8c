"""The ``README.md`` of an export: what the model is, what it was trained on, and how it is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from huggingface_hub import EvalResult, ModelCard, ModelCardData

import roformer
from roformer.data import SOURCES
from roformer.model.portable_code import FILE
from roformer.runs.metrics import Line
from roformer.tasks import Task

if TYPE_CHECKING:
    from roformer.training.trainer import Trainer

CARD = "README.md"
_USES = {
    "RoFormerForMaskedLM": ("fill-mask", "AutoModelForMaskedLM"),
    "RoFormerForCausalLM": ("text-generation", "AutoModelForCausalLM"),
    "RoFormerForConditionalGeneration": ("translation", "AutoModelForSeq2SeqLM"),
    "RoFormerForSequenceClassification": ("text-classification", "AutoModelForSequenceClassification"),
    "RoFormerForTokenClassification": ("token-classification", "AutoModelForTokenClassification"),
    "RoFormerForQuestionAnswering": ("question-answering", "AutoModelForQuestionAnswering"),
}
"""Model -> task on the hub, and Auto class."""
_OTHER_USE = "feature-extraction", "AutoModel"  # of a new task with a model of its own

_TEXT = """
# {name}

RoFormer ([arXiv:2104.09864](https://arxiv.org/abs/2104.09864)) with the position encoding `{position}`:
{parameters:,} parameters, trained with roformer-lab {version}.

```python
from transformers import {auto_class}, AutoTokenizer

folder = "."  # where this file lies; on the hub, the name of the repository
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {auto_class}.from_pretrained(folder, trust_remote_code=True)
print({call}(**tokenizer({texts}, return_tensors="pt")))
```

`trust_remote_code=True` runs `{file}`, which is made of the sources of roformer-lab (Apache-2.0). Where
that package is installed, `import roformer` first and omit it. The license of the weights depends on the data: whoever
shares them states it in the first lines of this file.

## Training

| | |
|---|---|
{facts}

```bash
{command}
```

## Results

{results}

## Limits

Trained on {tokens:,} tokens, to compare position encodings; not for use in products. Nobody has examined it for
errors, for bias, or for texts of its training data that it repeats.
"""


def model_card(trainer: "Trainer") -> str:
    """Returns the card of the model that a run exports, from the run's own records."""
    lines, task = trainer.folder.metrics(), trainer.task
    pipeline_tag, auto_class = _USES.get(task.model_class.__name__, _OTHER_USE)
    results = _results(trainer, lines)
    text = _TEXT.format(
        name=trainer.folder.path.name,
        position=trainer.config.position["name"],
        parameters=trainer.unwrapped_model.num_parameters(),
        version=roformer.__version__,
        auto_class=auto_class,
        call="model.generate" if pipeline_tag in ("text-generation", "translation") else "model",
        texts='"A question?", "Some text"' if pipeline_tag == "question-answering" else '"Some text"',
        file=FILE,
        facts="\n".join(f"| {name} | {value} |" for name, value in _facts(trainer, lines).items()),
        command=trainer.folder.provenance["command"],
        results=_table(results, task),
        tokens=trainer.state.tokens,
    )
    return str(ModelCard(f"---\n{_metadata(trainer, pipeline_tag, results).to_yaml()}\n---\n{text}"))


def _metadata(trainer: "Trainer", pipeline_tag: str, results: Mapping[str, float]) -> ModelCardData:
    config, name = trainer.config, trainer.folder.path.name
    dataset = _dataset(config.data)
    return ModelCardData(
        license="unknown",
        language=_languages(config.data),
        library_name="transformers",
        pipeline_tag=pipeline_tag,
        tags=["roformer-lab", "roformer", "position-encoding", str(config.position["name"])],
        base_model=_base_model(config.init_from),
        datasets=[dataset] if "dataset" in config.data else None,
        model_name=name,
        eval_results=[
            EvalResult(
                task_type=pipeline_tag,
                dataset_type=dataset,
                dataset_name=dataset,
                dataset_split="validation",
                metric_type=metric,
                metric_value=value,
            )
            for metric, value in results.items()
        ]
        or None,
    )


def _facts(trainer: "Trainer", lines: list[Line]) -> dict[str, str]:
    config, task, record = trainer.config, trainer.task, trainer.folder.provenance
    hardware, resumed = record["hardware"], len(record["resumed"])
    start: Line = {"tokens": 0}
    processor = hardware["gpu"] or f"{hardware['cpu']}, {hardware['cores']} cores"
    seconds = sum(
        (now["tokens"] - before["tokens"]) / now["tokens_per_second"]
        for before, now in zip([start, *lines], lines, strict=False)
        if "tokens_per_second" in now
    )
    splits = {name: f"{len(split):,} ({len(split.tokens):,} tokens)" for name, split in task.corpus.splits.items()}
    facts = {
        "objective": task.title,
        "initial weights": _base_model(config.init_from) or "random",
        "data": f"{_dataset(config.data)}, fingerprint `{record['data_fingerprint']}`",
        "documents": ", ".join(f"{name} {size}" for name, size in splits.items()),
        "steps": _steps(trainer, lines),
        "tokens": f"{trainer.state.tokens:,}",
        "time in training steps": f"{seconds / 60:,.1f} minutes",
        "hardware": f"{processor}, processes: {hardware['processes']}",
        "seed, precision": f"{config.seed}, {config.trainer.precision}",
        "versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
    }
    return {**facts, "resumed": f"{resumed} times"} if resumed else facts


def exported_line(trainer: "Trainer", lines: list[Line]) -> Line:
    """Returns the line of ``metrics.jsonl`` for the state that is exported: the best one where early stopping kept it,
    or else the last one; nothing for a mean of checkpoints, which was never evaluated."""
    task, settings = trainer.task, trainer.config.trainer
    evaluated = [line for line in lines if task.best_metric in line]
    if settings.average_checkpoints > 1 or not evaluated:
        return {}
    if settings.early_stopping_patience is None:
        return evaluated[-1]
    return (max if task.greater_is_better else min)(evaluated, key=lambda each: each[task.best_metric])


def _steps(trainer: "Trainer", lines: list[Line]) -> str:
    last, size = trainer.state.step, trainer.config.trainer.batch_size
    exported = exported_line(trainer, lines).get("step", last)
    of_best = f"; the weights are those of step {exported:,}" if exported != last else ""
    return f"{last:,} with a batch size of {size:,}{of_best}"


def _results(trainer: "Trainer", lines: list[Line]) -> dict[str, float]:
    """Returns the metrics on the validation split of the state that is exported."""
    line, prefix = exported_line(trainer, lines), "validation_"
    return {key.removeprefix(prefix): float(f"{line[key]:.6g}") for key in line if key.startswith(prefix)}


def _table(results: Mapping[str, float], task: Task) -> str:
    if not results:
        return "This mean of checkpoints was not evaluated in training."
    rows = [f"| {metric} | {value:.4g} | {_interval(metric, value, task)} |" for metric, value in results.items()]
    head = [
        "On the validation split, which also chose the best state if there was early stopping. Of one run: an",
        "interval is over the documents, and is known where the accuracy and their number give it.",
        "",
        "| metric | value | 95 % interval |",
        "|---|---:|---:|",
    ]
    return "\n".join([*head, *rows])


def _interval(metric: str, value: float, task: Task) -> str:
    """Returns what ``evaluate.py`` gives for the accuracy of one run over documents; nothing for other metrics."""
    if metric != "accuracy" or task.family != "classification":
        return ""
    from roformer.results.intervals import accuracy_interval  # needs scikit-learn, as the task does

    documents = len(task.corpus.splits["validation"])
    found = accuracy_interval(np.arange(documents) < round(value * documents))
    return f"{found.low:.4g} to {found.high:.4g}"


def _dataset(data: Mapping[str, Any]) -> str:
    """Returns what a data set is called, without the folder that it lies in."""
    return str(data.get("dataset") or data["name"])


def _languages(data: Mapping[str, Any]) -> list[str] | None:
    pair = [str(data[key]) for key in ("source", "target") if key in data]
    return pair or list(SOURCES[data["name"]].text_languages) or None


def _base_model(init_from: str | None) -> str | None:
    """Returns the name of the run, or of the folder, that a run starts from."""
    if init_from is None:
        return None
    path = Path(init_from).absolute()
    return path.parent.name if path.name == "export" else path.name
