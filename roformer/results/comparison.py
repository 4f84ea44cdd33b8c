"""A comparison: what all of its numbers share, its groups of runs, and one summary per section."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from roformer.errors import UserError
from roformer.results.records import Settings
from roformer.results.schema import Json, from_json, to_json

SCHEMA_VERSION = 5
S = TypeVar("S")


@dataclass(frozen=True)
class EncodingRuns:
    """The runs of one encoding: their seeds, and the encoding's settings."""

    seeds: tuple[int, ...]
    position: Settings


@dataclass(frozen=True)
class Group:
    """Runs whose results compare: those of one family of tasks, and where a family has several datasets, of one.

    Attributes:
        family: of tasks, such as ``language_modeling``.
        data: the dataset, in a family with several; else None.
        settings: what a reader needs to judge the results, from the first run.
        warnings: in what runs differ that should not.
        encodings: by label, the reference first, then from best to worst.
    """

    family: str
    data: str | None
    settings: Settings
    warnings: tuple[str, ...]
    encodings: dict[str, EncodingRuns]

    @property
    def title(self) -> str:
        return self.data or self.family.replace("_", " ").capitalize()


@dataclass(frozen=True)
class Origin:
    """Where and when a comparison was made.

    Attributes:
        created: ISO time.
        command: that made it.
        evaluation_commit, git_commit: of the evaluation, and of the first run's training.
        hardware, versions: of the first run's training.
    """

    created: str
    command: str
    evaluation_commit: str | None
    git_commit: str | None
    hardware: Settings
    versions: dict[str, str]


@dataclass(frozen=True)
class Comparison:
    """Everything that a report shows.

    Attributes:
        title: heading of the report.
        reference: label of the encoding that the others are compared with.
        origin: where it comes from.
        groups: of runs.
        summaries: section's name -> its dataclass.
    """

    title: str
    reference: str
    origin: Origin
    groups: tuple[Group, ...]
    summaries: Mapping[str, object]

    def get(self, kind: type[S]) -> S | None:
        """Returns the summary of a class; None where nothing of the kind was measured."""
        return next((each for each in self.summaries.values() if isinstance(each, kind)), None)

    def group(self, family: str) -> Group | None:
        """Returns the first group of a family, or None."""
        return next((group for group in self.groups if group.family == family), None)

    def settings(self, family: str) -> Settings:
        """Returns the settings of a family's first group; nothing where there is no such group."""
        group = self.group(family)
        return group.settings if group else {}

    def names(self, family: str) -> list[str]:
        """Returns the encodings of a family's first group, the reference first, then from best to worst."""
        group = self.group(family)
        return list(group.encodings) if group else []


def comparison_to_json(comparison: Comparison, versions: Mapping[str, int]) -> Json:
    """Returns the content of ``comparison.json``.

    Args:
        comparison: what to write.
        versions: section's name -> version of its summary.
    """
    header = {field.name: to_json(getattr(comparison, field.name)) for field in fields(comparison)}
    del header["summaries"]
    sections = {
        name: {"version": versions[name], "summary": to_json(each)} for name, each in comparison.summaries.items()
    }
    return {"schema_version": SCHEMA_VERSION, **header, "sections": sections}


def comparison_from_json(content: Json, kinds: Mapping[str, tuple[type[Any], int]]) -> Comparison:
    """Returns what ``comparison_to_json`` wrote.

    Args:
        content: of ``comparison.json``.
        kinds: section's name -> class and version of its summary.

    Raises:
        UserError: if the file or one of its sections has another version, is unknown, or lacks a field.
    """
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"comparison.json has schema_version {version}, allowed is {SCHEMA_VERSION}; run evaluate.py again"
        )
    summaries = {}
    for name, section in content.get("sections", {}).items():
        if name not in kinds:
            raise UserError(f"comparison.json has an unknown section '{name}' (available: {', '.join(sorted(kinds))})")
        kind, allowed = kinds[name]
        if section["version"] != allowed:
            raise UserError(
                f"comparison.json has version {section['version']} of section '{name}', allowed is {allowed}; run "
                "evaluate.py again"
            )
        summaries[name] = from_json(kind, section["summary"], name)
    hints: dict[str, Any] = {"title": str, "reference": str, "origin": Origin, "groups": tuple[Group, ...]}
    missing = [name for name in hints if name not in content]
    if missing:
        raise UserError(f"comparison.json has no '{missing[0]}' (needs: {', '.join(hints)}); run evaluate.py again")
    header: dict[str, Any] = {name: from_json(kind, content[name], name) for name, kind in hints.items()}
    return Comparison(**header, summaries=summaries)
