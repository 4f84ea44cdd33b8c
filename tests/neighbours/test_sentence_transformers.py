"""sentence-transformers: vectors, rerankers, their training, and mteb on top of them."""

import sentence_transformers
import torch
from datasets import Dataset
from transformers import AutoModel, AutoTokenizer


def arguments(cls, folder):
    return cls(
        str(folder), max_steps=2, per_device_train_batch_size=4, report_to=[], use_cpu=True, save_strategy="no",
        disable_tqdm=True,
    )  # fmt: skip


def test_vectors_are_the_mean_of_the_tokens(mlm, texts):
    """Catches another pooling than the mean, and padding that counts."""
    model = sentence_transformers.SentenceTransformer(
        str(mlm), device="cpu", model_kwargs={"attn_implementation": "sdpa"}
    )
    vectors = torch.tensor(model.encode(texts[0][:3]))
    tokenizer, body = AutoTokenizer.from_pretrained(mlm), AutoModel.from_pretrained(mlm)
    expected = torch.stack(
        [body(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0) for text in texts[0][:3]]
    )
    torch.testing.assert_close(vectors, expected.detach(), atol=1e-5, rtol=0)


def test_trained_vectors_are_loaded_again(mlm, texts, tmp_path):
    """Catches a model that cannot be read after sentence-transformers has saved it."""
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    model = sentence_transformers.SentenceTransformer(str(mlm), device="cpu")
    pairs = Dataset.from_dict({"anchor": texts[0][:6], "positive": texts[0][6:]})
    trainer = sentence_transformers.SentenceTransformerTrainer(
        model,
        arguments(sentence_transformers.SentenceTransformerTrainingArguments, tmp_path / "trainer"),
        train_dataset=pairs,
        loss=MultipleNegativesRankingLoss(model),
    )
    trainer.train()
    model.save_pretrained(str(tmp_path / "saved"))
    again = sentence_transformers.SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    torch.testing.assert_close(torch.tensor(again.encode(texts[0])), torch.tensor(model.encode(texts[0])))


def test_reranker_scores_trains_and_is_loaded_again(mlm, texts, tmp_path):
    """Catches a classifier that CrossEncoder cannot call, and one logit that is read as classes."""
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    model = sentence_transformers.CrossEncoder(str(mlm), num_labels=1, device="cpu")
    rows = {"query": texts[0][:6], "passage": texts[0][6:], "label": [1.0, 0.0] * 3}
    trainer = CrossEncoderTrainer(
        model,
        arguments(CrossEncoderTrainingArguments, tmp_path / "trainer"),
        train_dataset=Dataset.from_dict(rows),
        loss=BinaryCrossEntropyLoss(model),
    )
    trainer.train()
    model.save_pretrained(str(tmp_path / "saved"))
    again = sentence_transformers.CrossEncoder(str(tmp_path / "saved"), device="cpu")
    pairs = list(zip(texts[0][:4], texts[0][4:8], strict=True))
    torch.testing.assert_close(torch.tensor(again.predict(pairs)), torch.tensor(model.predict(pairs)))


def test_mteb_scores_our_vectors(mlm, texts, tmp_path):
    """Catches vectors that mteb cannot ask for."""
    import mteb
    from mteb.abstasks import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    class Similarity(AbsTaskSTS):
        metadata = TaskMetadata(
            name="TinySTS", description="pairs of sentences", reference=None, type="STS", category="t2t",
            modalities=["text"], eval_splits=["test"], eval_langs=["eng-Latn"], main_score="cosine_spearman",
            dataset={"path": "tiny/sts", "revision": "1"}, date=None, domains=None, task_subtypes=None, license=None,
            annotations_creators=None, dialect=None, sample_creation=None, bibtex_citation=None,
        )  # fmt: skip

        def load_data(self, **kwargs):
            halves = {"sentence1": texts[0][:6], "sentence2": texts[0][6:][::-1]}
            pairs = {**halves, "score": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}
            self.dataset, self.data_loaded = {"test": Dataset.from_dict(pairs)}, True

    Similarity.min_score, Similarity.max_score = 0, 5
    model = sentence_transformers.SentenceTransformer(str(mlm), device="cpu")
    result = mteb.evaluate(model, [Similarity()], cache=None)
    assert -1 <= result.task_results[0].scores["test"][0]["cosine_spearman"] <= 1
