"""The tasks of GLUE (Wang et al. 2019, arXiv:1804.07461) with their columns; RoFormer paper, section 4.3."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roformer.data.cache import content_key
from roformer.data.sources._base import SOURCES, Document, Source
from roformer.data.sources._local_files import find_files
from roformer.data.sources.hub import HubSource
from roformer.data.sources.labeled import LabeledSource
from roformer.errors import UserError
from roformer.registry import did_you_mean


@dataclass(frozen=True)
class GlueTask:
    """A task of the GLUE benchmark.

    Attributes:
        columns: names of the text columns.
        metric: the metric that GLUE and the paper report.
        positive: names of the positive class of an F1 score, as a number and on the hub.
        folder: folder of its files; None if it is the task's own name.
        development: prefix of the file names of its development set.
    """

    columns: tuple[str, ...]
    metric: str = "accuracy"
    positive: tuple[str, ...] = ()
    folder: str | None = None
    development: str = "validation"


GLUE = {
    "cola": GlueTask(("sentence",), "matthews"),
    "mnli": GlueTask(("premise", "hypothesis"), development="validation_matched"),
    "mnli_mismatched": GlueTask(("premise", "hypothesis"), folder="mnli", development="validation_mismatched"),
    "mrpc": GlueTask(("sentence1", "sentence2"), "f1", ("1", "equivalent")),
    "qnli": GlueTask(("question", "sentence")),
    "qqp": GlueTask(("question1", "question2"), "f1", ("1", "duplicate")),
    "rte": GlueTask(("sentence1", "sentence2")),
    "sst2": GlueTask(("sentence",)),
    "stsb": GlueTask(("sentence1", "sentence2"), "spearman"),
    "wnli": GlueTask(("sentence1", "sentence2")),
}


@SOURCES.register("glue")
class GlueSource(Source):
    """A task of GLUE. Test labels are not public, so the development set is the test split here; learning rates and
    other choices are made on a held-out part of the training set.

    Args:
        glue_task: name of the task; ``mnli_mismatched`` is ``mnli`` with its other development set.
        path: a folder with a subfolder for each task that holds tables named train* and validation* (valid*, val*,
            dev*; for MRPC also test*, as in its original release, whose labels are public); null for the hub.
        dataset, revision: name and version on the hub.

    Raises:
        UserError: if there is no such task or folder; on reading, if a column is missing or labels are hidden.
    """

    is_benchmark = True

    def __init__(self, *, glue_task: str, path: str | None, dataset: str, revision: str | None) -> None:
        if glue_task not in GLUE:
            hint = did_you_mean(glue_task, GLUE)
            raise UserError(f"data.glue_task: unknown '{glue_task}'{hint} (available: {', '.join(GLUE)})")
        task = GLUE[glue_task]
        columns, folder = list(task.columns), task.folder or glue_task
        self.parts: list[tuple[str | None, Source]] = []
        if path is None:
            splits = {"train": "train", task.development: "test"}
            self.parts = [
                (None, HubSource(
                    dataset=dataset, config_name=folder, revision=revision, streaming=False, text_column=columns,
                    label_column="label", document_start=None, rows_per_document=None, splits=splits,
                ))
            ]  # fmt: skip
            return
        files = [file.path for file in find_files(str(Path(path) / folder)).files]
        part = task.development.removeprefix("validation")
        development = [f"{word}{part}" for word in ("validation", "valid", "val", "dev")]
        if glue_task == "mrpc":
            development.append("test")  # its original release, before GLUE, has public test labels
        for split, beginnings in (("train", ["train"]), ("test", development)):
            named = [[file for file in files if file.name.startswith(beginning)] for beginning in beginnings]
            if not (found := next(filter(None, named), [])):
                raise UserError(f"data.path={path}: no file {'* or '.join(beginnings)}* in its folder {folder}")
            for file in found:
                self.parts.append((split, LabeledSource(path=str(file), text_column=columns, label_column="label")))

    @classmethod
    def check(cls, data: dict[str, Any], task: dict[str, Any]) -> None:
        """Refuses to classify scores and to fit classes."""
        if (name := data["glue_task"]) in GLUE:
            fitting = "regression" if GLUE[name].metric == "spearman" else "classification"
            if task["name"] in {"classification", "regression"} - {fitting}:
                raise UserError(f"data.glue_task={name} needs task={fitting}")

    def fingerprint(self) -> str:
        return content_key("glue", [[split, part.fingerprint()] for split, part in self.parts])

    def provided_splits(self) -> frozenset[str]:
        return frozenset({"test"})

    def documents(self) -> Iterator[Document]:
        for split, part in self.parts:
            part.skipped = self.skipped
            for document in part.documents():
                if document.label == "-1":
                    raise UserError(f"data.path: a file of the {split} split has hidden labels (-1)")
                yield document if split is None else replace(document, split=split)
