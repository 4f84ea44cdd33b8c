"""Finished runs, as evaluation sees them: what ``train.py`` left in an output folder."""

import glob
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from roformer.config import data_name
from roformer.data import SOURCES
from roformer.data.corpus import moved
from roformer.errors import UserError
from roformer.renamed import current_model_config
from roformer.results.records import RunInfo, Settings
from roformer.runs import RunFolder
from roformer.tasks import TASKS


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        folder: its output folder.
        config: what its ``config.yaml`` says.
        provenance: what its ``provenance.json`` says.
    """

    folder: Path
    config: Settings
    provenance: Settings

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def export(self) -> Path:
        return RunFolder(self.folder).export

    @property
    def task(self) -> str:
        return str(self.config["task"]["name"])

    @property
    def family(self) -> str:
        """The family of tasks whose results compare: the task's own, or that of benchmarks."""
        family = TASKS[self.task].family
        is_benchmark = SOURCES[self.config["data"]["name"]].is_benchmark
        return "downstream" if is_benchmark and family == "classification" else family

    @property
    def info(self) -> RunInfo:
        """What distinguishes the runs of a comparison. Runs that are judged by one number may be of several datasets
        and, since the comparison selects, of several learning rates."""
        data, rate = self.config["data"], self.config["optimizer"]["learning_rate"]
        is_scored = self.family == "downstream"
        dataset = data.get("glue_task") or data_name(data)
        return RunInfo(
            name=self.name,
            task=self.task,
            family=self.family,
            data=str(dataset) if is_scored else None,
            learning_rate=rate if is_scored else None,
            position=self.config["position"],
            seed=int(self.config["seed"]),
            is_random_start=self.family in ("classification", "downstream") and not self.config["init_from"],
        )

    @property
    def data(self) -> Settings:
        """Its settings of the corpus. A relative path that leads nowhere from here is one of the folder in which the
        run was trained."""
        return moved(self.config["data"], Path(self.provenance.get("working_directory", ".")))

    @property
    def data_fingerprint(self) -> str:
        return str(self.provenance["data_fingerprint"])


def find_runs(patterns: list[str]) -> tuple[list[Run], list[Path]]:
    """Returns the finished runs that the patterns match, sorted by name, and the folders of unfinished ones.

    Raises:
        UserError: if no pattern matches a finished run, two runs have the same name, or a run's settings are not those
            of its model.
    """
    # a folder is no pattern: train.py names folders after files, whose names may have brackets
    found = (glob.glob(pattern) if not Path(pattern).exists() else [pattern] for pattern in patterns)
    folders = sorted({Path(match) for matches in found for match in matches})
    begun = [folder for folder in map(RunFolder, folders) if folder.has_config]
    finished = [folder for folder in begun if folder.status == "finished"]
    if not finished:
        others = f"{len(begun)} unfinished" if begun else f"{len(folders)} other"
        raise UserError(
            f"runs={patterns} matches no finished run ({others} folders); give output folders of train.py, such as "
            "outputs/*"
        )
    names = Counter(folder.path.name for folder in finished)
    if (twice := names.most_common(1)[0])[1] > 1:
        raise UserError(
            f"runs={patterns} matches {twice[1]} folders named {twice[0]}; results go by that name, so rename"
        )
    runs = [Run(folder.path, folder.config or {}, folder.provenance) for folder in finished]
    for run in runs:
        exported = current_model_config(json.loads((run.export / "config.json").read_text(encoding="utf-8")))
        if exported.get("position") != run.config["position"]:
            raise UserError(
                f"{run.folder}: config.yaml has position {run.config['position']}, the exported model "
                f"{exported.get('position')}; restore the one that has changed"
            )
    return runs, [folder.path for folder in begun if folder not in finished]
