"""BLEU of translations of the test split, over seeds and over sentences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from roformer.errors import UserError
from roformer.report.blocks import Block
from roformer.report.numbers import MISSING, corrected, display_name, fixed, probability, with_interval
from roformer.report.table import Table
from roformer.report.wording import delta, has_p, interval_note, primary
from roformer.results.comparison import Comparison
from roformer.results.intervals import Difference, Interval, holm, interval, paired_by_seed
from roformer.results.records import BySeed, Records
from roformer.sections.section import SECTIONS, Section
from roformer.sections.translation.bleu import tokenizer_of

FAMILY = "translation"


@dataclass(frozen=True)
class Metrics:
    """Of one run.

    Attributes:
        bleu: sacreBLEU's, of detokenized text, with its ``signature``.
        compound_split: of tokens with compounds split at hyphens, for comparison with older papers only.
        loss: in nats per target token.
        decoding: how the translations were searched for.
        parameters: of the model.
        translations, references: of each test sentence.
    """

    bleu: float
    signature: str
    compound_split: float
    loss: float
    decoding: str
    parameters: int
    translations: tuple[str, ...]
    references: tuple[str, ...]


@dataclass(frozen=True)
class Encoding:
    """Scores, the difference in BLEU to the reference, and of each seed the p of a paired bootstrap over sentences."""

    parameters: int
    bleu: Interval
    compound_split: Interval
    loss: Interval
    difference: Difference | None
    bootstrap: tuple[float, ...] | None


@dataclass(frozen=True)
class Summary:
    signature: str
    decoding: str
    test_documents: int
    encodings: dict[str, Encoding]


@SECTIONS.register("translation")
class Translation(Section[Summary]):
    version = 2
    summary = Summary
    family = FAMILY
    heading = "Translation"
    place = 600

    def summarize(self, records: Records) -> Summary | None:
        """Raises ``UserError`` if the runs have other test sets."""
        runs = records.by_encoding(Metrics)
        if not runs:
            return None
        if len({each.references for by_seed in runs.values() for each in by_seed.values()}) > 1:
            raise UserError("translations of different test sets do not compare; narrow runs= to one of them")
        first = next(iter(next(iter(runs.values())).values()))
        bleu = {label: {seed: each.bleu for seed, each in by_seed.items()} for label, by_seed in runs.items()}
        others = [label for label in runs if label != records.reference and records.reference in runs]
        differences = holm({label: paired_by_seed(bleu[label], bleu[records.reference]) for label in others})
        return Summary(
            first.signature,
            first.decoding,
            len(first.references),
            {
                label: _encoding(
                    list(by_seed.values()),
                    differences.get(label),
                    _bootstrap(by_seed, runs[records.reference]) if label in others else None,
                )
                for label, by_seed in runs.items()
            },
        )

    def ranking(self, summary: Summary) -> Mapping[str, float]:
        return {label: -each.bleu.mean for label, each in summary.encodings.items()}

    def render(self, summary: Summary, comparison: Comparison) -> Iterator[Block]:
        group = comparison.group(FAMILY)
        differences = [each.difference for each in summary.encodings.values()]
        tested = has_p(differences)
        rows = []
        for name in comparison.names(FAMILY):
            each = summary.encodings[name]
            rows.append(
                (
                    display_name(name),
                    with_interval(each.bleu, 1),
                    with_interval(each.difference, 2, signed=True),
                    *([corrected(each.difference)] if tested else []),
                    _by_seed(each.difference, each.bootstrap) if each.difference and each.bootstrap else MISSING,
                    with_interval(each.compound_split, 1),
                    with_interval(each.loss, 3),
                    fixed(each.parameters, 0),
                    str(len(each.bleu.values)),
                )
            )
        yield Table(
            name="translation",
            title=f"BLEU of {summary.test_documents:,} test sentences",
            columns=(
                *("Encoding", "sacreBLEU", delta(comparison.reference, "negative"), *(["p"] if tested else [])),
                *("Of each seed (p over sentences)", "Compound-split BLEU", "Loss (nats)", "Parameters", "Seeds"),
            ),
            rows=tuple(rows),
            note=f"sacreBLEU: {summary.signature}; {summary.decoding}. Compound-split: of tokens, for older papers "
            f"only. Loss: per target token. {primary(differences)} p over sentences (exploratory): paired bootstrap "
            "of one seed's test sentences, 1,000 samples, not corrected: it does not cover other seeds. "
            f"{interval_note(each.bleu for each in summary.encodings.values())}",
            warnings=group.warnings if group else (),
        )

    def sentences(self, summary: Summary, comparison: Comparison) -> list[str]:
        subject = display_name(comparison.reference)
        differences = {display_name(n): e.difference for n, e in summary.encodings.items() if e.difference is not None}
        if not any(len(each.values) > 1 for each in differences.values()):
            return [f"Not enough paired seeds to compare with {subject}."]
        clear = [
            f"{name} differs from {subject} by {fixed(each.mean, 2, signed=True)} BLEU"
            for name, each in differences.items()
            if each.is_clear()
        ]
        if clear:
            return [f"{'; '.join(clear)}."]
        unclear = (f"{name} {with_interval(each, 2, signed=True)}" for name, each in differences.items())
        return [f"No clear difference in BLEU to {subject} ({'; '.join(unclear)})."]


def _encoding(metrics: list[Metrics], difference: Difference | None, bootstrap: tuple[float, ...] | None) -> Encoding:
    return Encoding(
        metrics[0].parameters,
        interval([each.bleu for each in metrics]),
        interval([each.compound_split for each in metrics]),
        interval([each.loss for each in metrics]),
        difference,
        bootstrap,
    )


def _bootstrap(runs: BySeed[Metrics], reference: BySeed[Metrics]) -> tuple[float, ...]:
    """Returns, of each seed that both have, the p-value of a paired bootstrap over the test sentences (Koehn 2004)."""
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    values = []
    for seed in sorted(runs.keys() & reference.keys()):
        ours, theirs = runs[seed], reference[seed]
        systems = [("reference", list(theirs.translations)), ("other", list(ours.translations))]
        metrics = {"BLEU": BLEU(references=[list(ours.references)], tokenize=tokenizer_of(ours.signature))}
        _, scores = PairedTest(systems, metrics, references=None, test_type="bs")()
        equal = scores["BLEU"][0].score == scores["BLEU"][1].score  # the test would call that significant
        values.append(1.0 if equal else float(scores["BLEU"][1].p_value))
    return tuple(values)


def _by_seed(difference: Difference, p_values: Sequence[float]) -> str:
    pairs = zip(difference.values, p_values, strict=True)
    return ", ".join(f"{fixed(value, 2, signed=True)} ({probability(p)})" for value, p in pairs)
