"""Readers, packing, batches, masks, tokenizers and settings on inputs that nobody would write down."""

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roformer.config import TrainConfig
from roformer.data import Document
from roformer.data.collators import TokenMasker, pack
from roformer.data.packing import FRAME_TOKENS, plan_rows
from roformer.data.sampler import batch_rows, batches_by_length
from roformer.data.sources._tables import READERS, read_rows
from roformer.data.splits import split_of
from roformer.errors import UserError
from roformer.tokenizer import TOKENIZERS

settings.register_profile(
    "ours", deadline=None, max_examples=50, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("ours")

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
LENGTHS = st.lists(st.integers(0, 60), min_size=1, max_size=30)


def offsets_of(lengths):
    return np.concatenate(([0], np.cumsum(lengths)))


@pytest.fixture(scope="module")
def byte_tokenizer():
    return TOKENIZERS.build({"name": "bytes"}).prepare(None, cache_dir=None, validation_fraction=0, test_fraction=0)


def rows_read(name, content):
    with TemporaryDirectory() as folder:
        file = Path(folder, name)
        file.write_bytes(content)
        return [(row["text"], row["label"]) for row in read_rows(file, ["text", "label"])]


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1))
def test_json_lines_come_back(rows):
    """Catches a line break, a quote or a control character that ends a row."""
    lines = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    assert rows_read("a.jsonl", lines.encode()) == rows


@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1))
def test_tables_come_back(rows):
    """Catches a field that moves into another column, and one that is cut."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "a.csv")
        with file.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([("text", "label"), *rows])
        found = [(row["text"] or "", row["label"] or "") for row in read_rows(file, ["text", "label"])]
    assert found == rows


FIELDS = TEXTS.filter(lambda text: not {*text} & {*"\t\r\n"} and '""' not in text)


@given(rows=st.lists(st.tuples(FIELDS, FIELDS), min_size=1))
def test_tables_with_tabs_come_back(rows):
    """Catches quotes that open or close a field of a table that has none."""
    lines = "".join(f"{text}\t{label}\n" for text, label in [("text", "label"), *rows])
    assert [(text or "", label or "") for text, label in rows_read("a.tsv", lines.encode())] == rows


@pytest.mark.parametrize("suffix", READERS)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(suffix, content):
    """Catches a traceback of a reader; ``tests/long/test_fuzz.py`` tries a million."""
    with TemporaryDirectory() as folder:
        file = Path(folder, f"a{suffix}")
        file.write_bytes(content)
        refusal = None
        try:
            list(read_rows(file, ["text"]))
        except UserError as error:
            refusal = str(error)
        assert refusal is None or (str(file) in refusal and "\n" not in refusal)


@given(LENGTHS, st.integers(3, 40))
def test_rows_hold_each_token_once(lengths, sequence_length):
    """Catches a token that is lost or doubled, a row that is too long, and a segment of two documents."""
    offsets = offsets_of(lengths)
    plan = plan_rows(offsets, sequence_length=sequence_length)
    tokens = sorted(token for start, stop in plan.spans.tolist() for token in range(start, stop))
    assert tokens == list(range(sum(lengths)))
    for index in range(len(plan)):
        spans = plan.row(index)
        assert (np.diff(spans) + FRAME_TOKENS).sum() <= sequence_length
        assert (np.diff(spans) > 0).all()
    for start, stop in plan.spans.tolist():
        assert np.searchsorted(offsets, start, side="right") == np.searchsorted(offsets, stop - 1, side="right")


@given(st.integers(0, 2**31), st.integers(1, 20), st.integers(1, 12))
def test_an_epoch_visits_each_row_once(seed, rows, batch_size):
    """Catches rows that a training never sees, whatever the batch size."""
    seen = np.concatenate([batch_rows(seed, step, batch_size=batch_size, rows=rows) for step in range(2 * rows)])
    for epoch in range(len(seen) // rows):
        assert sorted(seen[epoch * rows : (epoch + 1) * rows].tolist()) == list(range(rows))


@given(LENGTHS, st.integers(1, 100), st.booleans())
def test_evaluation_batches_hold_each_document_once(lengths, batch_tokens, padded):
    """Catches a document that is not evaluated, and a batch that does not fit into memory."""
    lengths = np.asarray(lengths)
    batches = batches_by_length(lengths, batch_tokens, padded=padded)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        size = len(batch) * lengths[batch].max() if padded else lengths[batch].sum()
        assert size <= batch_tokens or len(batch) == 1 or lengths[batch].min() == 0


@given(st.lists(st.lists(st.integers(0, 99), min_size=1), min_size=1))
def test_packed_documents_can_be_taken_apart(documents):
    """Catches a bound that is off by one."""
    packed = pack([np.asarray(document) for document in documents])
    bounds = packed["cu_seqlens"].tolist()
    tokens = packed["input_ids"][0].tolist()
    assert [tokens[start:stop] for start, stop in pairwise(bounds)] == documents


@given(st.integers(1, 200), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_masks_hit_as_many_tokens_as_they_say(byte_tokenizer, length, probability, seed):
    """Catches a token that is masked twice, a special token as a replacement, and a loss that is divided wrongly."""
    masker, rng = TokenMasker(byte_tokenizer, mask_probability=probability), np.random.default_rng(seed)
    chosen = masker.choose(length, rng)
    assert len(np.unique(chosen)) == len(chosen) == masker.num_targets(length)
    assert 0 <= chosen.min() <= chosen.max() < length
    tokens = masker.ordinary[:1].repeat(len(chosen))
    special = set(byte_tokenizer.all_special_ids) - {masker.mask_token_id}
    assert not special & set(masker.corrupt(tokens, rng).tolist())


@given(TEXTS)
def test_bytes_come_back_as_text(byte_tokenizer, text):
    """Catches a tokenizer that changes a text: its case, its blanks or its characters."""
    tokens = byte_tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert len(tokens) == len(text.encode())
    assert byte_tokenizer.decode(tokens, clean_up_tokenization_spaces=False) == text


@given(TEXTS, st.floats(0, 0.4), st.floats(0, 0.4))
def test_a_split_depends_on_the_text_alone(text, validation, test):
    """Catches one text in two splits."""
    found = {split_of(Document(text, label), validation, test, frozenset()) for label in (None, "a", "b")}
    assert len(found) == 1


@pytest.fixture(scope="module")
def config():
    return TrainConfig.compose("data.validation_fraction=0.1")


@given(
    st.integers(0, 2**63 - 1), st.integers(1, 10**9), st.floats(1e-9, 1e9), st.text(st.characters(), max_size=20)
)  # fmt: skip
def test_settings_come_back(config, seed, steps, norm, folder):
    """Catches a number or a path that yaml reads as something else, so that a run cannot be resumed."""
    changed = replace(
        config,
        seed=seed,
        trainer=replace(config.trainer, max_steps=steps, max_grad_norm=norm),
        paths=replace(config.paths, output_dir=folder),
    )
    assert TrainConfig.from_settings(yaml.safe_load(changed.to_yaml())) == changed
