"""What the long tests share: how many cases were tried, and where that is written down."""

import json
from datetime import datetime, timezone

import pytest
from filelock import FileLock

from roformer.io import write_json
from roformer.runs.provenance import provenance
from tests.tiny_runs import ROOT

RECORD, LOCK = ROOT / "docs" / "reliability.json", ROOT / "outputs" / ".reliability.lock"


@pytest.fixture
def record():
    """The function that writes down what a long test has done, with commit, machine and date."""

    def write(name, **counts):
        origin = provenance()
        where = {
            "commit": origin["git_commit"],
            "cpu": origin["hardware"]["cpu"],
            "torch": origin["versions"]["torch"],
        }
        date = datetime.now(timezone.utc).date().isoformat()
        LOCK.parent.mkdir(exist_ok=True)
        with FileLock(LOCK):
            kept = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
            kept[name] = {**counts, "date": date, **where}
            write_json(RECORD, dict(sorted(kept.items())))

    return write
