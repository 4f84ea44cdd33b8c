"""Exports of finished runs, as users load them into other libraries. ``make neighbors`` installs those."""

from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("peft") else ["test_*.py"]


def pytest_collection_modifyitems(items):
    """Leaves these tests to ``make neighbors``, which installs what they import."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.neighbors)


@pytest.fixture(scope="session")
def mlm(tiny_runs):
    """The export of a masked language model."""
    return tiny_runs.train(tiny_runs.folder / "neighbors" / "mlm") / "export"


@pytest.fixture(scope="session")
def classifier(tiny_runs):
    """The export of a classifier of three topics."""
    return tiny_runs.train(tiny_runs.folder / "neighbors" / "classifier", task="classification") / "export"


@pytest.fixture(scope="session")
def causal(tiny_runs):
    """The export of a causal language model."""
    return tiny_runs.train(tiny_runs.folder / "neighbors" / "causal", task="causal_lm") / "export"


@pytest.fixture(scope="session")
def seq2seq(tiny_runs):
    """The export of an encoder-decoder."""
    return tiny_runs.train(tiny_runs.folder / "neighbors" / "seq2seq", task="translation") / "export"


@pytest.fixture(scope="session")
def texts():
    """Sentences about three topics, and the number of each topic."""
    sentences = ["the badger sleeps under the oak", "butter and flour in the oven", "the captain saw the reef"]
    return [f"{sentence} {number}" for number in range(4) for sentence in sentences], [0, 1, 2] * 4
