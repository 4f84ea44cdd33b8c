"""The targets of docs/performance.md, from files made by hand."""

import pytest

from benchmarks import end_to_end, report
from benchmarks.contestants import OURS, PEERS, STOCK, WITHOUT_POSITIONS


def test_what_is_met_by_hand():
    """Catches an aim that is read the wrong way round."""
    rows = [
        report.Aim("ratio", 3, 2.999, best=3.0).row(),
        report.Aim("share", 0.05, 0.05, unit="%", at_most=True, is_ratio_to_peers=False).row(),
        report.Aim("share", 0.05, 0.0511, unit="%", at_most=True, is_ratio_to_peers=False, spread=" (4% to 6%)").row(),
        report.Aim("small", 0.01, 0.0004, unit="%", at_most=True, is_ratio_to_peers=False).row(),
        report.Aim("nothing", 5, None).row(),
    ]
    assert rows == [
        ["ratio", "3x", "3.00x", "yes", "3.00x", "no"],
        ["share", "at most 5%", "5.0%", "yes", "", ""],
        ["share", "at most 5%", "5.1% (4% to 6%)", "no", "", ""],
        ["small", "at most 1%", "0.04%", "yes", "", ""],
        ["nothing", "5x", "not measured", "", "not measured", ""],
    ]


def test_the_rows_of_a_gpu_by_hand():
    """Catches numbers of another length or setting, and a page that cannot be made before anybody had a GPU."""
    assert [aim.measured or aim.best for aim in report.gpu_aims({"cases": []})] == [None] * 3

    def case(name, seconds):
        ours = {"contestant": OURS, "variant": "memory kept, compiled", "seconds": [seconds]}
        eager = {**ours, "variant": "memory kept", "seconds": [9.0], "seconds_of_ours": [seconds]}
        stock = [{**eager, "contestant": STOCK, "seconds": [n * seconds]} for n in (7.0, 6.0)]
        return {"name": name, "tokens": 16_000_000, "flops": 24e12, "results": [ours, eager, *stock]}

    cases = [case("training, 512 tokens each, base size", 2.0), case("training, 4,096 tokens each, base size", 4.0)]
    found = {"machine": {"matmul_rates": {"square": 20e12}}, "cases": cases}
    used, tokens, over = report.gpu_aims(found)
    assert used.measured == pytest.approx(0.3)  # the lesser of 0.6 and 0.3
    assert tokens.measured == 8.0
    assert over.best == 6.0
    assert over.measured is None


@pytest.fixture
def by_hand(monkeypatch):
    """Files of the page with two rounds of ours and stock RoFormer, in two settings."""

    def case(name, *results):
        return {"name": name, "flops": 6e9, "results": list(results), "skipped": []}

    def result(contestant, variant, seconds, of_ours, peak):
        return {
            "contestant": contestant,
            "variant": variant,
            "seconds": seconds,
            "seconds_of_ours": of_ours,
            "peak_bytes": peak,
        }

    ours = {"contestant": OURS, "variant": "memory kept", "seconds": [1.0, 2.0, 4.0], "peak_bytes": 30}
    stock = result(STOCK, "as it comes", [3.0, 8.0], [1.0, 2.0], 90)
    kept = result(STOCK, "memory kept", [2.0, 4.0], [1.0, 4.0], 60)
    plain = result(WITHOUT_POSITIONS, "memory kept", [1.0, 2.0, 4.0, 5.0], [1.1, 2.1, 4.8, 5.5], 1)
    machine = {"matmul_rates": {"large": 6e9, "small": 5e9}}
    files = {
        "lengths": {"machine": machine, "cases": [case("work", ours, stock)]},
        "best": {"machine": machine, "cases": [case("work", ours, kept)]},
        "rope": {"machine": machine, "cases": [case("work", ours, plain)]},
    }
    monkeypatch.setattr(report, "load", files.__getitem__)


def test_the_summary_by_hand(by_hand):
    """Catches a ratio, a share or a memory that is upside down, or of another file, setting or contestant."""
    assert report._over(report._case("lengths", "work"), [STOCK]) == 3.5  # rounds of 3 and 4
    assert report._over(report._case("best", "work"), PEERS, "") == 1.5  # rounds of 2 and 1
    assert report._utilization("lengths", "work") == 0.5  # 6 GFLOP in the median of 2 s, of 6 GFLOP/s
    assert report._memory("work") == 0.5  # 30 of the lesser of 90 and 60
    cost = report._cost_of_positions("work")
    assert cost.measured == pytest.approx(0.1)
    assert cost.spread == " (6.3% to 17.5%)"
    runs = {end_to_end.OURS: [{"tokens": 8, "seconds": 1.0}, {"tokens": 8, "seconds": 2.0}]}
    runs[end_to_end.PLAIN] = [{"tokens": 8, "seconds": 2.0}, {"tokens": 4, "seconds": 4.0}]
    assert end_to_end.times_as_fast(runs, end_to_end.PLAIN) == 3.0  # rounds of 2 and 4
