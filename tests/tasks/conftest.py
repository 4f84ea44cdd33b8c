"""Tasks on two tiny corpora."""

import pytest

from roformer.tasks.factory import build_task


@pytest.fixture(scope="session")
def make_task(tiny_runs):
    """Builds a new task object; overrides as on the command line."""
    return lambda name, *overrides: build_task(tiny_runs.config("unused", *overrides, task=name))


@pytest.fixture(params=["mlm", "causal_lm", "classification", "token_classification"])
def task_name(request):
    return request.param


@pytest.fixture
def task(make_task, task_name):
    return make_task(task_name)
