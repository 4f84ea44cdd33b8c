"""What conf/ offers, and decorators that run a test once for each of it.

A new yaml is a new test. ``backend`` is one of softmax attention; the other backends are approximations and operators
of their own (``linear_backend``).
"""

import pytest

from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention
from roformer.config import CONF, TrainConfig


def choices(group):
    """The file names of a config group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


POSITION = {name: TrainConfig.compose(f"position={name}").position for name in choices("position")}
ATTENTION = {name: {"name": name} for name in choices("attention") if name != "auto"}
SOFTMAX = [name for name in ATTENTION if issubclass(ATTENTION_BACKENDS[name], SoftmaxAttention)]

each_encoding = pytest.mark.parametrize("encoding", POSITION)
each_backend = pytest.mark.parametrize("backend", SOFTMAX)
each_linear_backend = pytest.mark.parametrize("linear_backend", sorted(set(ATTENTION) - set(SOFTMAX)))
each_hook_and_backend = pytest.mark.parametrize(
    ("encoding", "backend"), [(encoding, backend) for encoding in POSITION for backend in SOFTMAX]
)
