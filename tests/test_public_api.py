"""``import roformer``: its public names, its cost, and the Auto classes of transformers that know it."""

import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

import roformer
from roformer.extras import EXTRA_OF
from tests.choices import POSITION
from tests.commands import ROOT

SIZES = "num_hidden_layers=1, hidden_size=32, num_attention_heads=2, intermediate_size=8"
HEAVY = {"hydra", "omegaconf", "accelerate", "torch", "transformers", *EXTRA_OF}


def python(code):
    """Runs code in a new process; returns the lines that it prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_public_names_exist():
    """Catches a public name that is listed and cannot be imported, and a hasattr that is true of everything."""
    assert all(getattr(roformer, name).__name__ == name for name in roformer.__all__)
    assert not hasattr(roformer, "RoFormer")


def test_import_is_quick():
    """Catches an import at the top of the package that makes ``import roformer`` or ``--help`` wait for seconds."""
    (names,) = python("import roformer, sys; print(*{name.split('.')[0] for name in sys.modules})")
    assert packages_distributions().keys() | {"torchao", "trackio"} >= HEAVY, "a misspelled name is never imported"
    assert not HEAVY & set(names.split())


@pytest.mark.slow
def test_models_need_no_part_of_the_pipeline():
    """Catches a model that cannot be used without Hydra, a tracker, or the packages of a report."""
    code = (
        "import transformers.modeling_utils, transformers.loss.loss_utils, transformers.generation, sys;"
        "before = set(sys.modules); import roformer; [getattr(roformer, name) for name in roformer.__all__];"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    (names,) = python(code)
    assert not (HEAVY - {"torch", "transformers"}) & set(names.split())


@pytest.mark.parametrize(
    "first",
    [
        "import roformer; from transformers import AutoConfig, AutoModelForMaskedLM",
        "from transformers import AutoConfig, AutoModelForMaskedLM; import roformer",
        "import roformer.model.configuration; from transformers import AutoConfig, AutoModelForMaskedLM",
        "from roformer import RoFormerForMaskedLM; from transformers import AutoConfig, AutoModelForMaskedLM",
        "import roformer.model.heads; from transformers import AutoConfig, AutoModelForMaskedLM",
    ],
)
@pytest.mark.slow
def test_auto_classes_know_the_models(first):
    """Catches a model type that is registered in one order of imports only, and a circle in another."""
    config = f"AutoConfig.for_model('roformer_lab', {SIZES}, position={{'name': 'none'}})"
    (line,) = python(f"{first}; print(type(AutoModelForMaskedLM.from_config({config})).__module__)")
    assert line == "roformer.model.heads"


@pytest.mark.parametrize("wish", ["from roformer import RotaryEmbedding", "from roformer.position import *"])
def test_positions_need_torch_only(wish):
    """Catches an encoding, or the layer for other models, that imports transformers: seconds and 150 MiB more."""
    build = (
        "from roformer.position import POSITION_ENCODINGS, ModelShape;"
        "more = {'randomized': {'base_encoding': {'name': 'rope'}}};"
        "built = [POSITION_ENCODINGS.build({'name': n, **more.get(n, {})}, ModelShape(8)) for n in POSITION_ENCODINGS]"
    )
    code = f"import sys; {wish}; {build}; print(len(built)); print(*sys.modules)"
    count, names = python(code)
    assert int(count) == len(POSITION)
    assert not (HEAVY - {"torch"}) & {name.split(".")[0] for name in names.split()}
