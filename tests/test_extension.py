"""The promise that a new position encoding is one file and one yaml: made good on a copy of the project."""

import json
import shutil

from tests.commands import ROOT, Commands
from tests.tiny_runs import TinyRuns

ENCODING = '''"""Scores that fall with the square root of the distance.

Source: this test.
Checked against: nothing.
"""

from torch import Tensor

from roformer.position._base import POSITION_ENCODINGS, ModelShape, PositionEncoding, PositionState, Traits


@POSITION_ENCODINGS.register("toy")
class ToyPositionEncoding(PositionEncoding):
    """Subtracts slope x sqrt(|m - n|) from the scores.

    Args:
        shape: sizes of the model.
        slope: how fast they fall.
    """

    traits = Traits(shift_invariant=True)

    def __init__(self, shape: ModelShape, *, slope: float = 0.1) -> None:
        super().__init__()
        self.slope = slope

    def prepare(self, position_ids: Tensor) -> PositionState:
        return (position_ids[:, None, :, None].float(),)

    def score_bias(self, query: Tensor, key: Tensor, state: PositionState, *, layer: int) -> Tensor:
        (places,) = state
        return -self.slope * (places - places.mT).abs().sqrt()
'''


def test_a_new_encoding_is_one_file_and_one_yaml(tmp_path):
    """Catches a list of encodings that somebody has to prolong, in code, configuration or report."""
    copy = tmp_path / "project"
    skipped = shutil.ignore_patterns("__pycache__")
    for name in ("roformer", "conf"):
        shutil.copytree(ROOT / name, copy / name, ignore=skipped)
    for name in ("train.py", "evaluate.py"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "roformer" / "position" / "toy.py").write_text(ENCODING)
    (copy / "conf" / "position" / "toy.yaml").write_text("name: toy\nslope: 0.2\n")

    tiny_runs = TinyRuns(tmp_path / "tiny_runs")
    settings = [*tiny_runs.overrides(), "trainer.max_steps=4"]
    commands = Commands(tmp_path, root=copy)
    try:
        for position in ("toy", "rope"):
            run = tmp_path / "runs" / f"mlm-{position}"
            trained = commands.run("train.py", *settings, f"position={position}", f"paths.output_dir={run}")
            assert trained.status == 0, trained.error_lines
        evaluated = commands.run("evaluate.py", f"runs={tmp_path}/runs/*", "length_factors=[1,2]")
        assert evaluated.status == 0, evaluated.error_lines
    finally:
        commands.close()
    stored = json.loads((tmp_path / "runs" / "mlm-toy" / "export" / "config.json").read_text())["position"]
    assert stored == {"name": "toy", "slope": 0.2}
    comparison = json.loads((tmp_path / "runs" / "report" / "comparison.json").read_text())
    toy = comparison["lm"]["encodings"]["toy"]
    assert set(toy["loss_by_length"]) == {"32", "64"}
    assert ">toy<" in (tmp_path / "runs" / "report" / "index.html").read_text()
