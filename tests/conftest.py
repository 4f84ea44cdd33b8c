"""Fixtures of all tests: tiny models, documents to run them on, tiny runs, and commands as processes."""

import os

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from roformer.attention import blocked, linear
from tests.choices import ATTENTION, POSITION
from tests.commands import Commands
from tests.tiny_models import SIZES, build_tiny_model, draw_weights
from tests.tiny_runs import TinyRuns

GIVEN_ENVIRONMENT = dict(os.environ)  # before pytest_configure
LONGEST = ("test_extension.py", "test_readme.py", "test_installed_package.py", "test_benchmarks.py")
LENGTHS = (1, 5, 5, 5, 1, 1, 7, 3)  # of the documents: equal neighbors, unequal ones, and single tokens


def pytest_configure():
    """Hides CUDA from all tests but that of accelerators: numbers are compared to the last digits, and benchmarks
    fork."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items):
    """Starts with the longest tests, so that at the end no worker waits for another one that has just begun one."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture
def given_environment():
    """The environment that pytest was started in."""
    return GIVEN_ENVIRONMENT


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tensors this small gain nothing from a second thread, which on a busy machine makes each step wait for it."""
    torch.set_num_threads(1)


@pytest.fixture
def small_blocks(monkeypatch):
    """Lets scores of short documents fill several blocks, of more than one head or of some rows."""
    monkeypatch.setattr(blocked, "_SHORT", 0)
    monkeypatch.setattr(blocked, "_BLOCK_SCORES", 20)


@pytest.fixture
def small_chunks(monkeypatch):
    """Lets the tokens of short documents fill several chunks of linear attention."""
    monkeypatch.setattr(linear, "_CHUNK", 2)


@pytest.fixture(scope="session")
def position_settings():
    """Settings of each encoding, as its yaml states them."""
    return POSITION


@pytest.fixture(scope="session")
def attention_settings():
    return ATTENTION


@pytest.fixture(scope="session")
def sizes():
    return SIZES


@pytest.fixture(scope="session")
def visible_weights():
    """The function that redraws the weights of a model and returns it, ready to be evaluated."""
    return draw_weights


@pytest.fixture(scope="session")
def tiny_model():
    """The function that builds a model with the encoding of that name."""
    return build_tiny_model


@pytest.fixture(scope="session")
def documents():
    """Token numbers of each document; 0, the padding, is none of them."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1, SIZES["vocab_size"], (length,), generator=generator) for length in LENGTHS]


@pytest.fixture
def packed(documents):
    """The documents in one row: (1, T), with their bounds."""
    bounds = torch.tensor([0, *LENGTHS]).cumsum(0)
    return {"input_ids": torch.cat(documents)[None], "cu_seqlens": bounds}


@pytest.fixture
def padded(documents):
    """One row for each document: (B, L), with a mask; the real tokens in order are those of ``packed``."""
    tokens = pad_sequence(documents, batch_first=True)
    return {"input_ids": tokens, "attention_mask": (tokens > 0).long()}


@pytest.fixture(scope="session")
def tiny_runs(tmp_path_factory):
    """Corpora, a cache and runs; each worker of pytest-xdist has its own, so that none waits for another."""
    return TinyRuns(tmp_path_factory.getbasetemp() / "tiny_runs")


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    """Runs the commands of the repository; each worker of pytest-xdist has its own warm interpreter."""
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()
