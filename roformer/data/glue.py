"""The tasks of GLUE (Wang et al. 2019, arXiv:1804.07461) with their columns; RoFormer paper, section 4.3."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from roformer.data._base import SOURCES, Document, Source
from roformer.data.cache import content_key
from roformer.data.hub import HubSource
from roformer.data.local import LabelledSource, find_files
from roformer.errors import UserError
from roformer.registry import did_you_mean


@dataclass(frozen=True)
class GlueTask:
    """What GLUE says of a task.

    Attributes:
        columns: of the texts.
        metric: that GLUE and the paper report.
        positive: what the class is called that an F1 score is about, by number and on the hub.
        folder: of its files; its own name where None.
        development: beginning of the name of its development set.
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
    """A task of GLUE. Its development set, whose labels are public, is the test split here: what has to be chosen,
    such as a learning rate, is chosen on a part of the training set.

    Args:
        glue_task: which one; ``mnli_mismatched`` has the training set of ``mnli`` and the other development set.
        path: a folder with a folder for each task, which holds tables named train*, and validation* (valid*, val*,
            dev*; of MRPC also test*, the second half of its own release); null for the hub.
        dataset, revision: on the hub.

    Raises:
        UserError: if there is no such task or folder; later, if a column is not there, or labels are hidden.
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
        files = [file.path for file in find_files(str(Path(path) / folder))]
        part = task.development.removeprefix("validation")
        development = [f"{word}{part}" for word in ("validation", "valid", "val", "dev")]
        if glue_task == "mrpc":
            development.append("test")  # as it was published, before GLUE: its labels are known
        for split, beginnings in (("train", ["train"]), ("test", development)):
            named = [[file for file in files if file.name.startswith(beginning)] for beginning in beginnings]
            if not (found := next(filter(None, named), [])):
                raise UserError(f"data.path={path}: no file {'* or '.join(beginnings)}* in its folder {folder}")
            for file in found:
                self.parts.append((split, LabelledSource(path=str(file), text_column=columns, label_column="label")))

    def fingerprint(self) -> str:
        return content_key("glue", [[split, part.fingerprint()] for split, part in self.parts])

    def provided_splits(self) -> frozenset[str]:
        return frozenset({"test"})

    def documents(self) -> Iterator[Document]:
        for split, part in self.parts:
            for document in part.documents():
                if document.label == "-1":
                    raise UserError(f"data.path: a file of the {split} split hides its labels (-1); take another")
                yield document if split is None else replace(document, split=split)
