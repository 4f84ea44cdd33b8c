"""BLEU of translations of the test split: sacreBLEU's, and the one that older papers print."""

import re
from collections.abc import Sequence
from typing import Any

from roformer.data.corpus import Corpus
from roformer.data.splits import split_documents
from roformer.evaluation.evaluators._base import EVALUATORS, Evaluator, LoadedRun
from roformer.model import RoFormerForConditionalGeneration
from roformer.tasks.translation import BEAMS, LENGTH_PENALTY, Translation


@EVALUATORS.register("bleu")
class Bleu(Evaluator):
    """Beam search with 4 beams and a length penalty of 0.6; keeps each translation, for paired tests."""

    version = 1
    tasks = (Translation,)

    def evaluate(self, loaded: LoadedRun) -> dict[str, Any]:
        """Returns ``bleu`` of detokenized text with its ``signature``; ``compound_split``, of tokens with compounds
        split at hyphens, for comparison with older papers only; and ``loss``, in nats a target token."""
        from sacrebleu.metrics import BLEU

        task, model = loaded.task, loaded.model
        assert isinstance(task, Translation)
        assert isinstance(model, RoFormerForConditionalGeneration)
        corpus = Corpus.from_settings(loaded.run.config["data"])
        references = [
            document.extra_texts[0]
            for split, document in split_documents(corpus.source, **corpus.fractions)
            if split == "test"
        ]
        translations = task.translate(
            model, "test", num_beams=BEAMS, length_penalty=LENGTH_PENALTY, batch_tokens=self.config.batch_tokens
        )
        metric = BLEU()
        return {
            "bleu": metric.corpus_score(translations, [references]).score,
            "signature": str(metric.get_signature()),
            "compound_split": compound_split_bleu(translations, references),
            "loss": task.evaluate(model, "test", self.config.batch_tokens)["test_loss"],
            "parameters": model.num_parameters(),
            "translations": translations,
            "references": references,
        }


def compound_split_bleu(translations: Sequence[str], references: Sequence[str]) -> float:
    """Returns BLEU of tokens, each part of a compound with a hyphen a token, as Vaswani et al. and their followers
    count; with the tokens of mteval-v13a, not of Moses."""
    from sacrebleu.metrics import BLEU
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    tokenize = Tokenizer13a()
    ours, theirs = (
        [re.sub(r"(\S)-(?=\S)", r"\1 ##AT##-##AT## ", tokenize(text)) for text in texts]
        for texts in (translations, references)
    )
    return float(BLEU(tokenize="none", force=True).corpus_score(ours, [theirs]).score)
