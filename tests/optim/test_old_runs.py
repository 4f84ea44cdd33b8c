"""Runs whose config.yaml is of version 0.1 go on."""

import shutil

import yaml

from tests.tiny_runs import assert_same_run

OLD_GROUPS = """
optimizer:
  learning_rate: 0.001
  grid: null
  carry: false
  beta1: 0.9
  beta2: 0.98
  epsilon: 1.0e-06
  weight_decay: 0.01
scheduler:
  name: linear
  warmup_ratio: 0.06
tracker:
  name: none
  project: roformer
"""


def test_a_run_of_version_0_1_resumes(tiny_runs, tmp_path):
    """Catches a run that today's code refuses, or trains on with other settings, because its optimizer has no name."""
    straight = tiny_runs.train(tmp_path / "straight")
    old = tmp_path / "old"
    shutil.copytree(straight, old)
    shutil.rmtree(old / "export")
    shutil.rmtree(old / "checkpoints" / "step_00000008")
    config = yaml.safe_load((old / "config.yaml").read_text())
    del config["lr_search_dir"], config["load_optimizer_state"]
    (old / "config.yaml").write_text(yaml.safe_dump(config | yaml.safe_load(OLD_GROUPS)))
    assert_same_run(tiny_runs.train(old), straight)
