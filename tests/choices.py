"""The choices of conf/, and decorators that run a test once for each of them. A new yaml is a new test.

``backend`` is one of softmax attention; the other backends are approximations and operators of their own
(``linear_backend``). Of the product of encodings and backends, most is marked ``full``: see ``one_for_each_hook``.
"""

import inspect

import pytest

from roformer.attention import ATTENTION_BACKENDS, SoftmaxAttention
from roformer.config import CONF, TrainConfig
from roformer.position import POSITION_ENCODINGS, ModelShape, PositionEncoding


def choices(group):
    """The file names of a config group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


POSITION = {name: TrainConfig.compose(f"position={name}").position for name in choices("position")}
ATTENTION = {name: {"name": name} for name in choices("attention")}
_SOFTMAX = [name for name in ATTENTION if issubclass(ATTENTION_BACKENDS[name], SoftmaxAttention)]
# auto calls the others, and is what tiny models have; varlen and flex are sdpa on a CPU
SOFTMAX = [name for name in _SOFTMAX if name not in ("auto", "varlen", "flex")]
LINEAR = [name for name in ATTENTION if name not in _SOFTMAX]
HOOKS = [name for name, value in vars(PositionEncoding).items() if inspect.isfunction(value) and name[0] != "_"]


def overridden_hooks(encoding):
    """The methods of the contract that this encoding implements."""
    cls = POSITION_ENCODINGS[encoding]
    return frozenset(hook for hook in HOOKS if getattr(cls, hook) is not getattr(PositionEncoding, hook))


def one_for_each_hook():
    """The first encoding for each set of hooks that any encoding overrides.

    A backend calls hooks and knows no encoding. Two encodings with the same hooks give it different numbers, and
    test_attention_formula.py holds for any numbers; whether they are the right ones is tested without a backend, in
    tests/position. An encoding with a new set of hooks is taken without being listed.
    """
    first = {}
    for encoding in POSITION:
        first.setdefault(overridden_hooks(encoding), encoding)
    return sorted(first.values())


def _marked(encoding):
    return () if encoding in one_for_each_hook() else pytest.mark.full


def honors(backend, encoding):
    """Whether a backend can compute an encoding."""
    shape = ModelShape(hidden_size=32, num_attention_heads=4)
    return ATTENTION_BACKENDS[backend].refusal(POSITION_ENCODINGS.build(POSITION[encoding], shape)) is None


each_encoding = pytest.mark.parametrize("encoding", POSITION)
each_backend = pytest.mark.parametrize("backend", SOFTMAX)
each_backend_with_bias = pytest.mark.parametrize("backend", [name for name in SOFTMAX if honors(name, "alibi")])
each_linear_backend = pytest.mark.parametrize("linear_backend", LINEAR)
each_hook = pytest.mark.parametrize("encoding", [pytest.param(name, marks=_marked(name)) for name in POSITION])
each_hook_and_backend = pytest.mark.parametrize(
    ("encoding", "backend"),
    [pytest.param(name, each, marks=_marked(name)) for name in POSITION for each in SOFTMAX if honors(each, name)],
)
each_hook_and_linear_backend = pytest.mark.parametrize(
    ("encoding", "linear_backend"),
    [
        pytest.param(name, each, marks=_marked(name))
        for each in LINEAR
        for name in ATTENTION_BACKENDS[each].supported_encodings()
    ],
)
