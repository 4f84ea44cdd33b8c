"""No tracker."""


def test_none_leaves_no_trace(tiny_runs, tmp_path):
    """Catches a tracker that cannot be turned off."""
    run = tiny_runs.train(tmp_path / "run", "tracker=none")
    kept = {".lock", "checkpoints", "config.yaml", "export", "metrics.jsonl", "provenance.json", "requirements.txt"}
    assert {path.name for path in run.iterdir()} - {"changes.diff"} == kept
