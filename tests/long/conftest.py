"""What the long tests share: how many cases were tried, and where that is written down."""

import json
from datetime import datetime, timezone

import pytest

from roformer.runs.provenance import provenance
from tests.tiny_runs import ROOT

RECORD = ROOT / "docs" / "reliability.json"


@pytest.fixture
def record():
    """The function that writes down what a long test has done, with commit, machine and date."""

    def write(name, **counts):
        kept = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
        origin = provenance()
        where = {
            "commit": origin["git_commit"],
            "cpu": origin["hardware"]["cpu"],
            "torch": origin["versions"]["torch"],
        }
        date = datetime.now(timezone.utc).date().isoformat()
        kept[name] = {**counts, "date": date, **where}
        RECORD.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")

    return write
