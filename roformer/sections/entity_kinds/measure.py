"""Counts the entities of the test split by kind."""

from collections import Counter

from roformer.results.records import Settings
from roformer.sections.downstream_score import FAMILY
from roformer.sections.entity_kinds import Counts, Metrics
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun
from roformer.tasks.token_classification import TokenClassification


@EVALUATORS.register("entity_kinds")
class EntityKinds(Evaluator[TokenClassification, Metrics]):
    version = 1
    families = (FAMILY,)
    metrics = Metrics

    def fits(self, config: Settings) -> bool:
        return config["task"]["name"] == "token_classification"

    def evaluate(self, run: LoadedRun[TokenClassification]) -> Metrics:
        task = run.task
        tags, _ = task.predict(run.model, "test", self.config.batch_tokens)
        answers, found = task.entities_of("test", task.answers("test")), task.entities_of("test", tags)
        right = [ours & theirs for ours, theirs in zip(answers, found, strict=True)]
        counts = [Counter(each.kind for document in sets for each in document) for sets in (right, found, answers)]
        kinds = sorted({*counts[1], *counts[2]})
        return Metrics({kind: Counts(*(count[kind] for count in counts)) for kind in kinds})
