"""Whether a faster path still learns the same: the loss of `train.py` at an old commit vs. this one.

python -m benchmarks.loss_curve 0035dca experiment=demo/pretrain seed=1 --output outputs/bench/loss_curve.json

Both run with the same settings, seed, data and batches; each makes its own caches, and steps are logged as they come.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.end_to_end import ROOT, last_line
from roformer.cli.errors import one_line_errors
from roformer.errors import UserError
from roformer.io import write_json
from roformer.runs import RunFolder
from roformer.runs.provenance import provenance


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loss_curve", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("commit", help="of the old path")
    parser.add_argument("overrides", nargs="*", help="settings of train.py that both commits have")
    parser.add_argument("--output", type=Path, help="a JSON file for python -m benchmarks.report")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / "old"
        git("worktree", "add", "--detach", str(old), arguments.commit)
        try:
            before = losses(old, arguments.overrides, Path(folder) / "before")
            now = losses(ROOT, arguments.overrides, Path(folder) / "now")
        finally:
            git("worktree", "remove", "--force", str(old))
    waited = now.pop("data_wait")
    curves = {f"commit {arguments.commit}": before, "this commit": now}
    report = {"schema_version": 1, **provenance(), "curves": curves, "data_wait": waited}
    if arguments.output:
        write_json(arguments.output, report)
    Console().print_json(data=report["curves"])


def git(*arguments: str) -> None:
    """Runs git in this checkout.

    Raises:
        UserError: with what git says.
    """
    result = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
    if result.returncode:
        raise UserError(f"git {' '.join(arguments)}: {last_line(result)}")


def losses(checkout: Path, overrides: list[str], folder: Path) -> dict[str, Any]:
    """Returns step and training loss of every line that a run logs, the last validation loss, and, where it is logged,
    the share of the time that the loop waited for data (median over lines)."""
    paths = [f"paths.output_dir={folder}/run", f"paths.cache_dir={folder}/cache"]
    result = subprocess.run(
        [sys.executable, "train.py", *overrides, *paths], cwd=checkout, capture_output=True, text=True
    )
    if result.returncode:
        raise UserError(f"train.py of {checkout} failed: {last_line(result)}")
    lines = RunFolder(folder / "run").metrics()
    waits = [line["data_wait"] for line in lines if "data_wait" in line]
    return {
        "step": [line["step"] for line in lines],
        "loss": [line["loss"] for line in lines],
        "validation_loss": lines[-1]["validation_loss"],
        **({"data_wait": statistics.median(waits)} if waits else {}),
    }


if __name__ == "__main__":
    main()
