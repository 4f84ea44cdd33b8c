"""Measures BLEU of one model's translations: sacreBLEU's, and the one that older papers print."""

import re
from collections.abc import Sequence
from typing import cast

from roformer.data.corpus import Corpus
from roformer.data.splits import split_documents
from roformer.model import RoFormerForConditionalGeneration
from roformer.sections.evaluator import EVALUATORS, Evaluator, LoadedRun
from roformer.sections.translation import FAMILY, Metrics
from roformer.sections.translation.bleu import tokenizer_for
from roformer.tasks.translation import BEAMS, LENGTH_PENALTY, Translation


@EVALUATORS.register("translation")
class TranslationQuality(Evaluator[Translation, Metrics]):
    """Beam search with 4 beams and a length penalty of 0.6; keeps each translation, for paired tests."""

    version = 2
    families = (FAMILY,)
    metrics = Metrics

    def evaluate(self, run: LoadedRun[Translation]) -> Metrics:
        from sacrebleu.metrics import BLEU

        corpus = Corpus.from_settings(run.config["data"])
        documents = split_documents(corpus.source, **corpus.fractions)
        references = [document.extra_texts[0] for split, document in documents if split == "test"]
        model = cast(RoFormerForConditionalGeneration, run.model)
        translations = run.task.translate(
            model, "test", num_beams=BEAMS, length_penalty=LENGTH_PENALTY, batch_tokens=self.config.batch_tokens
        )
        metric = BLEU(tokenize=tokenizer_for(references))
        return Metrics(
            bleu=metric.corpus_score(translations, [references]).score,
            signature=str(metric.get_signature()),
            compound_split=compound_split_bleu(translations, references),
            loss=run.task.evaluate(model, "test", self.config.batch_tokens)["test_loss"],
            decoding=f"beam search with {BEAMS} beams, length penalty {LENGTH_PENALTY}",
            parameters=model.num_parameters(),
            translations=tuple(translations),
            references=tuple(references),
        )


def compound_split_bleu(translations: Sequence[str], references: Sequence[str]) -> float:
    """Returns BLEU of tokens, each part of a compound with a hyphen a token, as Vaswani et al. and their followers
    count; with the tokens of sacreBLEU, not of Moses."""
    from sacrebleu.metrics import BLEU

    tokenize = BLEU(tokenize=tokenizer_for(references)).tokenizer
    ours, theirs = (
        [re.sub(r"(\S)-(?=\S)", r"\1 ##AT##-##AT## ", tokenize(text)) for text in texts]
        for texts in (translations, references)
    )
    return float(BLEU(tokenize="none", force=True).corpus_score(ours, [theirs]).score)
