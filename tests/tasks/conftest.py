"""Tasks on two tiny corpora."""

import pytest

from roformer.tasks.factory import build_task
from tests.workshop import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    return Workshop(tmp_path_factory.getbasetemp() / "workshop")


@pytest.fixture(scope="session")
def make_task(workshop):
    """Builds a new task object; overrides as on the command line."""
    return lambda name, *overrides: build_task(workshop.config("unused", *overrides, task=name))


@pytest.fixture(params=["mlm", "causal_lm", "classification"])
def task_name(request):
    return request.param


@pytest.fixture
def task(make_task, task_name):
    return make_task(task_name)
