"""From the records of many runs to one comparison: groups of runs, and a summary for each section."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from roformer.config import EvaluateConfig
from roformer.evaluation.comparability import differences_in_settings, label_runs, seeds_of, shared_settings
from roformer.results.comparison import Comparison, EncodingRuns, Group, Origin
from roformer.results.records import Record, Records, Settings
from roformer.sections import in_page_order


def compare(records: Sequence[Record[Any]], config: EvaluateConfig, evaluated: Settings) -> Comparison:
    """Returns the comparison that a report is made of (``comparison.json`` is its JSON).

    Args:
        records: what was measured.
        config: of the evaluation.
        evaluated: provenance of the evaluation.

    Raises:
        UserError: if two runs of one task on the same data have the same encoding, seed and learning rate; of a
            comparison that selects no learning rate, the same encoding and seed.
    """
    groups: dict[tuple[str, str | None], list[Record[Any]]] = defaultdict(list)
    for record in records:
        groups[record.run.family, record.run.data].append(record)
    labels = {key: label_runs(record.run for record in each) for key, each in groups.items()}
    families: dict[str, Records] = {}
    for family in dict.fromkeys(family for family, _ in groups):
        of_family = [key for key in groups if key[0] == family]
        families[family] = Records(
            config.reference,
            {name: label for key in of_family for name, label in labels[key].items()},
            [record for key in of_family for record in groups[key]],
        )
    summaries: dict[str, object] = {}
    rankings: dict[str, Mapping[str, float]] = {}
    for name, section in in_page_order():
        if section.family in families and (summary := section.summarize(families[section.family])) is not None:
            summaries[name] = summary
            rankings[section.family] = section.ranking(summary) or rankings.get(section.family, {})
    trained = records[0].trained
    return Comparison(
        config.title,
        config.reference,
        Origin(
            evaluated["created"],
            evaluated["command"],
            evaluated["git_commit"],
            trained["git_commit"],
            trained["hardware"],
            trained["versions"],
        ),
        tuple(
            _group(key, each, labels[key], config.reference, rankings.get(key[0], {})) for key, each in groups.items()
        ),
        summaries,
    )


def _group(
    key: tuple[str, str | None],
    records: Sequence[Record[Any]],
    labels: Mapping[str, str],
    reference: str,
    ranking: Mapping[str, float],
) -> Group:
    positions = {labels[record.run.name]: record.run.position for record in records}
    seeds = seeds_of(records, labels)
    order = sorted(seeds, key=lambda label: (label != reference, ranking.get(label, 0.0), label))
    started = [
        record for record in records if not record.run.is_random_start
    ] or records  # a baseline differs by design
    rates_selected = records[0].run.learning_rate is not None
    return Group(
        *key,
        shared_settings(started),
        differences_in_settings(started, labels, rates_selected=rates_selected),
        {label: EncodingRuns(seeds[label], positions[label]) for label in order},
    )
