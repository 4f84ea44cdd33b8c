"""The command that tells what a corpus holds, and every yaml of data and tokenizer."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import roformer.cli.describe
from roformer.cli.describe import describe_batch
from roformer.data.token_store import TokenizedCorpus, TokenizedSplit
from roformer.tasks.factory import build_task
from roformer.tokenizer import TOKENIZERS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def make_corpus(tiny_runs):
    """Builds the corpus of a tiny run."""
    return lambda task: build_task(tiny_runs.config("unused", task=task)).corpus


def describe(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "roformer.cli.describe", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_prints_counts_and_labels(tmp_path: Path) -> None:
    """Catches a command in data/README.md that does not run."""
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text(
            "text,label\n" + "\n".join(f"some text {i},{'ab'[i % 2]}" for i in range(50))
        )
    settings = ["tokenizer.vocab_size=100", "tokenizer.alphabet_size=40", f"paths.cache_dir={tmp_path / 'cache'}"]
    done = describe("data=labeled", f"data.path={tmp_path}", *settings)
    assert done.returncode == 0, done.stderr
    assert "test: 50 documents" in done.stdout
    assert "labels: a 25, b 25" in done.stdout
    assert done.stderr == ""


def test_many_labels_are_not_all_listed(tmp_path: Path) -> None:
    """Catches a screen full of the numbers of a regression."""
    labels = tuple(f"l{number:03}" for number in range(200))
    split = TokenizedSplit(np.zeros(200, dtype=np.uint16), np.arange(201), np.arange(200))
    (tmp_path / "meta.json").write_text(
        json.dumps({"splits": {"train": {"documents": 200, "characters": 200, "tokens": 200}}})
    )
    text = roformer.cli.describe.describe(TokenizedCorpus({"train": split}, labels, 1, (), "f", tmp_path))
    assert "l000 1, l001 1" in text
    assert "l149 1, and 50 more\n" in text


def test_tags_are_counted(make_corpus):
    """Catches a corpus of entities about which one learns nothing, and unanswerable questions that nobody counts."""
    corpus, texts = make_corpus("token_classification"), make_corpus("question_answering")
    found = corpus.splits["test"].annotations.spans[:, 2].tolist()
    counts = ", ".join(f"{tag} {found.count(number)}" for number, tag in enumerate(corpus.tags))
    assert f"\n  tags: {counts}\n" in roformer.cli.describe.describe(corpus)
    questions = texts.splits["test"].annotations
    without = len(texts.splits["test"]) - len(questions.spans)
    assert without > 0
    expected = f"\n  tags: answer {len(questions.spans)}; documents without one: {without}\n"
    assert expected in roformer.cli.describe.describe(texts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data=labeled"], "path"),
        (["data=nothing"], "unknown data 'nothing'"),
        (["data=text", "data.path=nowhere"], "nowhere"),
    ],
)
def test_mistakes_end_in_one_line(arguments: list[str], message: str) -> None:
    """Catches a traceback for a forgotten path or a wrong name."""
    done = describe(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


@pytest.mark.parametrize("path", sorted(ROOT.glob("conf/tokenizer/*.yaml")), ids=lambda path: path.stem)
def test_every_tokenizer_yaml_builds(path: Path) -> None:
    """Catches a key that the class does not take, or a missing one."""
    assert TOKENIZERS.build(yaml.safe_load(path.read_text()))


def test_a_batch_is_printed_as_the_model_gets_it(tiny_runs):
    """Catches texts of another batch than the one that a run names when its numbers are not finite."""
    config = tiny_runs.config("unused")
    task = build_task(config)
    head, *lines = describe_batch(task, 3, config.trainer.batch_size).splitlines()
    assert head == f"batch 3, rows {', '.join(map(str, task.batch_row_numbers(3, config.trainer.batch_size)))}:"
    assert len(lines) >= config.trainer.batch_size
    assert all(line.startswith("[CLS]") for line in lines)
    assert any("[MASK]" in line for line in lines)
    assert lines != describe_batch(task, 4, config.trainer.batch_size).splitlines()[1:]


@pytest.mark.slow
def test_near_copies_are_counted(tmp_path: Path) -> None:
    """Catches copies with a word changed, and documents of one topic that are taken for copies."""
    words = [f"word{number}" for number in range(200)]
    texts = [" ".join(words[start : start + 60]) for start in range(0, 140, 20)]
    data = tmp_path / "data"
    data.mkdir()
    for split, lines in (("train", texts), ("test", [texts[0] + " more", "other " * 60])):
        rows = "\n".join(json.dumps({"text": text}) for text in lines)
        (data / f"{split}.jsonl").write_text(rows)
    settings = ["tokenizer=bytes", "data.validation_fraction=0", f"paths.cache_dir={tmp_path / 'cache'}"]
    done = describe("data=text", f"data.path={data}", *settings, "+near_copies=0.8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        "test: 1 of 2 documents nearly are training documents, such as document 0 (training document 0)\n"
    )
    refused = describe("data=text", f"data.path={data}", *settings, "+near_copies=many")
    assert refused.stderr.startswith("error: +near_copies must lie in (0, 1]")
