"""Runs that take a blink: tiny models on a few dozen generated documents, and what tests ask of their folders."""

import csv
import json
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file

from roformer.config import EvaluateConfig, TrainConfig
from roformer.data.sources.sentences import SentencesSource
from roformer.runs import RunFolder
from roformer.training import checkpoint
from roformer.training.run import train

ROOT = Path(__file__).parents[1]
TOPICS = {
    "forest": "fern moss oak pine owl badger root bark acorn hollow",
    "kitchen": "flour oven butter spoon kettle pepper onion dough plate recipe",
    "sea": "sail anchor harbour gull tide captain mast storm reef lantern",
}
_FRAMES = (
    "the {0} stands beside the {1}",
    "in the morning we found a {0} under the {1}",
    "nobody had seen the old {0} since the {1} was moved",
    "every {0} needs a {1}",
    "she drew the {0} and then the {1} from memory",
)
TINY = (
    "model.hidden_size=32",
    "model.embedding_size=32",
    "model.num_attention_heads=2",
    "model.intermediate_size=64",
    "tokenizer.vocab_size=300",
    "tokenizer.alphabet_size=40",
    "trainer.max_steps=8",
    "trainer.batch_size=8",
    "trainer.eval_steps=4",
    "trainer.logging_steps=1",
    "trainer.save_steps=4",
    "trainer.precision=fp32",
    "trainer.compile=false",
    "attention=sdpa",
    "data.validation_fraction=0.15",
    "data.test_fraction=0.2",
    "tracker=none",
)


def make_document(topic, sentences, rng):
    """Sentences about one topic, the same at each call with an equal generator."""
    words = TOPICS[topic].split()
    drawn = (_FRAMES[rng.integers(len(_FRAMES))].format(*rng.choice(words, 2)) for _ in range(sentences))
    return " ".join(f"{sentence.capitalize()}." for sentence in drawn)


class TinyRuns:
    """A folder with two corpora, the caches and the runs of a test session.

    Attributes:
        text: a folder of 60 documents.
        labelled: a table of 90 documents with their topics.
        parallel: a folder of 240 pairs; the words of a target are those of its source, backwards.
        tagged: 160 generated texts with tagged words, in English and Chinese.
        questions: 160 questions about generated texts, some without an answer.
        cache: of tokenizers and tokens.
    """

    def __init__(self, folder):
        self.folder, self.cache = folder, folder / "cache"
        self.text, self.labelled = folder / "text", folder / "labelled.csv"
        self.parallel = folder / "parallel"
        self.tagged, self.questions = folder / "tagged.jsonl", folder / "questions.jsonl"
        if not self.labelled.exists():
            self._write()

    def _write(self):
        rng = np.random.default_rng(0)
        self.text.mkdir(parents=True)
        for number in range(60):
            topic = list(TOPICS)[number % 3]
            (self.text / f"{number:02}.txt").write_text(make_document(topic, rng.integers(6, 20), rng))
        with self.labelled.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            rows.writerows((make_document(topic, rng.integers(2, 6), rng), topic) for topic in list(TOPICS) * 30)
        self.parallel.mkdir()
        words = " ".join(TOPICS.values()).split()
        sources = [" ".join(["the", *rng.choice(words, rng.integers(2, 9))]) for _ in range(240)]
        targets = [" ".join(word[::-1] for word in source.split()) for source in sources]
        for name, lines in (("all.en", sources), ("all.de", targets)):
            (self.parallel / name).write_text("\n".join(lines))
        self._write_spans()

    def _write_spans(self):
        settings = {"texts": 1, "labels": []}
        short, long = (SentencesSource(documents=120 // n, sentences=n, spans="words", **settings) for n in (1, 3))
        with self.tagged.open("w") as file:
            for document in (*short.documents(), *long.documents()):
                words = [(document.text[start:end], tag) for start, end, tag in document.spans]
                file.write(json.dumps(dict(zip(("tokens", "tags"), zip(*words, strict=True), strict=True))) + "\n")
        with self.questions.open("w") as file:
            for document in SentencesSource(documents=160, sentences=3, spans="answers", **settings).documents():
                question, context = document.texts
                answers = [{"text": context[start:end], "answer_start": start} for start, end, _ in document.spans]
                file.write(json.dumps({"question": question, "context": context, "answers": answers}) + "\n")

    def overrides(self, *more, task="mlm"):
        """What ``train.py`` takes for a tiny run; ``more`` comes last and so wins."""
        text = ("data=text", f"data.path={self.text}")
        question = ("task.max_question_length=12", "task.stride=8", "task.max_answer_length=5")
        corpus = {
            "mlm": text,
            "causal_lm": ("task=causal_lm", *text),
            "char_lm": ("task=char_lm", *text),
            "translation": ("task=translation", f"data.path={self.parallel}"),
            "classification": ("task=classification", "data=labeled", f"data.path={self.labelled}"),
            "token_classification": ("task=token_classification", f"data.path={self.tagged}"),
            "question_answering": ("task=question_answering", f"data.path={self.questions}", *question),
        }
        length = "task.sequence_length=32" if task.endswith("lm") else "task.max_length=32"
        length = "task.max_length=64" if task == "translation" else length
        without = {
            "char_lm": ("tokenizer.",),
            "translation": ("tokenizer.alphabet_size", "trainer.batch_size"),
        }.get(task, ())
        if "tokenizer=pretrained" in more:
            without = (*without, "tokenizer.")
        tiny = [value for value in TINY if not value.startswith(without)] if without else list(TINY)
        if task == "translation":
            tiny += ["trainer.batch_size=256", "model.num_hidden_layers=1", "model.decoder_layers=1"]
        return [*corpus.get(task, (f"task={task}",)), length, *tiny, f"paths.cache_dir={self.cache}", *more]

    def config(self, output_dir, *more, task="mlm"):
        """The configuration of a tiny run."""
        overrides = self.overrides(f"paths.output_dir={output_dir}", *more, task=task)
        return TrainConfig.from_hydra(composed("train", *overrides))

    def train(self, output_dir, *more, task="mlm", callbacks=()):
        """Trains a tiny model here and now; returns its folder, as does a second call."""
        chosen = frozenset(override.split("=")[0] for override in more)
        train(self.config(output_dir, *more, task=task), chosen, callbacks)
        return Path(output_dir)


def composed(name, *overrides):
    """What Hydra makes of conf/<name>.yaml and the command line."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(name, list(overrides))


def evaluation(runs, **more):
    """The configuration of ``evaluate.py`` for these folders."""
    settings = {"length_factors": [1, 2, 4], "batch_tokens": 512, "title": "A test", "reference": "rope"}
    settings["hardest_documents"] = 3
    return EvaluateConfig(runs=[str(run) for run in runs], **{"output_dir": None, **settings, **more})


def metrics(run):
    """The lines of metrics.jsonl, without the times, which no two runs share."""
    times = ("tokens_per_second", "data_wait")
    return [{key: value for key, value in line.items() if key not in times} for line in RunFolder(run).metrics()]


def weights(run):
    """The exported weights by name."""
    return load_file(run / "export" / "model.safetensors")


def optimizer_state(run):
    """The optimizer's tensors, from the newest checkpoint."""
    *_, newest = RunFolder(run).checkpoints.values()
    stored = checkpoint.optimizer_state(newest)["state"]
    return {f"{number} {key}": value for number, state in stored.items() for key, value in state.items()}


def assert_same_run(run, other, *, rtol=0.0, atol=0.0):
    """Equal weights, optimizer state and logged numbers: bit for bit, or within a tolerance."""
    for read in (weights, optimizer_state):
        torch.testing.assert_close(read(run), read(other), rtol=rtol, atol=atol)
    assert [line["step"] for line in metrics(run)] == [line["step"] for line in metrics(other)]
    for ours, theirs in zip(metrics(run), metrics(other), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)
