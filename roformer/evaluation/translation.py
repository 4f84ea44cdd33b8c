"""Translations by several encodings: BLEU over seeds, and paired tests over sentences."""

from typing import Any

from roformer.errors import UserError
from roformer.evaluation.comparability import (
    Result,
    differences_in_settings,
    group_runs,
    paired_by_seed,
    shared_settings,
)
from roformer.evaluation.probes import BySeed
from roformer.evaluation.statistics import correct_for_many, interval
from roformer.tasks.translation import BEAMS, LENGTH_PENALTY


def compare_translations(results: list[Result], reference: str) -> dict[str, Any]:
    """Returns what each encoding scored, and how that differs from the reference's.

    Raises:
        UserError: if the runs have other test sets.
    """
    texts = {tuple(result["metrics"]["references"]) for result in results if result["evaluator"] == "bleu"}
    if len(texts) > 1:
        raise UserError("translations of different test sets do not compare; narrow runs= to one of them")
    groups = group_runs(results)
    first = next(iter(next(iter(groups.values())).values()))["bleu"]
    encodings = {label: _encoding(runs) for label, runs in groups.items()}
    for label, runs in groups.items():
        other = groups.get(reference) if label != reference else None
        encodings[label]["difference"] = paired_by_seed(_scores(runs), _scores(other)) if other else None
        encodings[label]["bootstrap"] = _bootstrap(runs, other) if other else None
    correct_for_many(encoding["difference"] for encoding in encodings.values())
    return {
        "settings": shared_settings(results),
        "warnings": differences_in_settings(results),
        "signature": first["signature"],
        "decoding": f"beam search with {BEAMS} beams, length penalty {LENGTH_PENALTY}",
        "test_documents": len(first["references"]),
        "encodings": encodings,
    }


def _scores(runs: BySeed) -> dict[int, float]:
    return {seed: float(metrics["bleu"]["bleu"]) for seed, metrics in runs.items()}


def _encoding(runs: BySeed) -> dict[str, Any]:
    metrics = [by_evaluator["bleu"] for by_evaluator in runs.values()]
    return {
        "seeds": list(runs),
        "parameters": metrics[0]["parameters"],
        **{name: interval([each[name] for each in metrics]) for name in ("bleu", "compound_split", "loss")},
    }


def _bootstrap(runs: BySeed, reference: BySeed) -> list[float]:
    """Returns, of each seed that both have, the p-value of a paired bootstrap over the test sentences (Koehn 2004)."""
    from sacrebleu.metrics import BLEU
    from sacrebleu.significance import PairedTest

    values = []
    for seed in sorted(runs.keys() & reference.keys()):
        ours, theirs = runs[seed]["bleu"], reference[seed]["bleu"]
        systems = [("reference", theirs["translations"]), ("other", ours["translations"])]
        test = PairedTest(systems, {"BLEU": BLEU(references=[ours["references"]])}, references=None, test_type="bs")
        _, scores = test()
        alike = scores["BLEU"][0].score == scores["BLEU"][1].score  # the test would call that significant
        values.append(1.0 if alike else float(scores["BLEU"][1].p_value))
    return values
