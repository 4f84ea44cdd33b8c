"""Rounds of benchmarks by time, on a clock that the test sets: nothing is timed, and no process starts."""

import sys

import pytest

from benchmarks import contestants, rounds, run
from benchmarks.contestants import EVERYONE, MODERNBERT, OURS, STOCK, X_TRANSFORMERS, Sizes
from benchmarks.rounds import Pace, in_turn, measured
from benchmarks.work import Case, Variant

KEPT, COMPILED = Variant(keep_memory=True), Variant(keep_memory=True, compiled=True)
SIZES = Sizes(8, 3, 2, 20, 8, 0.0)
CASE = Case("inference", [run.drawn(20, 8, 16)], SIZES, 8, "fp32", "sdpa")


class Machine:
    """A clock, and workers that take the seconds that a test gives them."""

    def __init__(self, start=None, turn=1.0):
        self.now, self.start, self.turn, self.order, self.stopped = 0.0, start or {}, turn, [], []

    def monotonic(self):
        return self.now

    def passes(self, seconds, limit):
        """Lets time pass, or raises at the limit."""
        self.now += min(seconds, max(0.0, limit))
        if seconds > limit:
            raise RuntimeError("not done within its share of the time")


@pytest.fixture
def machine(monkeypatch):
    def made(**settings):
        here = Machine(**settings)

        class Worker:
            def __init__(self, name, variant, case):
                self.name, self.variant, self.connection = name, variant, (name, variant)

            def ready(self, seconds):
                if here.start.get(self.connection, 1.0) > here.now - self.born:
                    raise RuntimeError("not done within its share of the time")
                return {"parameters": 1, "attention": None}

            def turn(self, at_least, seconds):
                here.order.append(self.name)
                here.passes(here.turn, seconds)
                return here.turn

            def peak(self):
                return 1

            def stop(self):
                here.stopped.append((self.name, self.variant))

        born = {}

        def wait_for(connections, timeout):
            """Returns whoever is ready first, or nobody at the timeout."""
            for each in connections:
                born.setdefault(each, here.now)
            ends = {each: born[each] + here.start.get(each, 1.0) for each in connections}
            first = min(connections, key=ends.__getitem__)
            here.now = min(ends[first], here.now + timeout)
            Worker.born = born[first]
            return [first] if here.now >= ends[first] else []

        monkeypatch.setattr(rounds, "time", here)
        monkeypatch.setattr(rounds, "Worker", Worker)
        monkeypatch.setattr(rounds, "wait_for", wait_for)
        return here

    return made


def test_rounds_end_with_the_time(machine):
    """Catches a run that takes longer than asked, rounds that are cut in the middle, and one round where there is time
    for more."""
    here = machine()
    found = measured([(OURS, KEPT), (STOCK, KEPT)], CASE, Pace(20.0, starting=1))
    assert found["rounds"] == 9  # 18 seconds of two, and two to start
    assert here.now == 20
    assert [len(each["seconds"]) for each in found["results"]] == [9, 9]
    assert found["results"][1]["seconds_of_ours"] == found["results"][0]["seconds"]
    assert {name for name, _ in here.stopped} == {OURS, STOCK}


def test_so_many_rounds_as_asked(machine):
    """Catches a number of rounds that the time changes."""
    machine(turn=50.0)
    assert measured([(OURS, KEPT)], CASE, Pace(run.LONG, rounds=3))["rounds"] == 3


def test_who_is_first_changes():
    """Catches a contestant that always has the turn after the same other one's start."""
    assert [in_turn("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


def test_what_is_not_compiled_in_time_runs_uncompiled(machine):
    """Catches compile time that eats the rounds, and a peer that drops out because of it."""
    here = machine(start={(STOCK, COMPILED): 1000.0, (MODERNBERT, COMPILED): 5.0})
    found = measured([(OURS, KEPT), (STOCK, COMPILED), (MODERNBERT, COMPILED)], CASE, Pace(40.0, starting=2))
    assert {(each["contestant"], each["variant"]) for each in found["results"]} == {
        (OURS, "memory kept"), (STOCK, "memory kept"), (MODERNBERT, "memory kept, compiled"),
    }  # fmt: skip
    assert [each["contestant"] for each in found["results"]] == [OURS, STOCK, MODERNBERT]
    assert [(each["contestant"], each["variant"]) for each in found["skipped"]] == [(STOCK, "memory kept, compiled")]
    assert found["rounds"] == 3  # 28 seconds for compiling, one for starting, and 11 of three
    assert here.now == 38


def test_a_slow_machine_finishes_one_round_within_the_limit(machine):
    """Catches tables that are empty where compiling, or a round, takes longer than the time of a case."""
    here = machine(start={(STOCK, COMPILED): 1000.0, (STOCK, KEPT): 30.0}, turn=50.0)
    found = measured([(OURS, KEPT), (STOCK, COMPILED)], CASE, Pace(20.0, limit=300.0))
    assert [each["contestant"] for each in found["results"]] == [OURS, STOCK]
    assert found["rounds"] == 1
    assert here.now == 14 + 30 + 2 * 50


def test_a_machine_that_is_too_slow_for_a_round(machine):
    """Catches a first round without an end."""
    here = machine(turn=100.0)
    found = measured([(OURS, KEPT), (STOCK, KEPT)], CASE, Pace(20.0))
    assert here.now <= 20
    assert found["results"] == []
    assert {each["why"] for each in found["skipped"]} == {"not done within its share of the time"}


def test_a_peer_that_is_not_installed(machine, monkeypatch):
    """Catches a benchmark that needs a package which only some machines have."""
    machine()
    monkeypatch.setattr(contestants, "find_spec", lambda name: None)
    found = measured([(OURS, KEPT), (X_TRANSFORMERS, KEPT)], CASE, Pace(20.0))
    assert [each["contestant"] for each in found["results"]] == [OURS]
    assert [each["why"] for each in found["skipped"]] == [
        "x-transformers is not installed: pip install x-transformers"
    ]
    assert "x-transformers" not in run.origin()["versions"]


def test_windows_in_two_of_three_layers(monkeypatch):
    """Catches a comparison with a peer that has other windows or none, and operations that are counted outside of
    them."""
    monkeypatch.setattr(run, "apart", lambda function, *arguments: "sdpa")
    monkeypatch.setattr(run, "WINDOWED", Sizes(8, 3, 2, 20, 24, 0.0, local_attention=4))
    monkeypatch.setattr(sys, "argv", ["run", "--lengths", "8", "--data", "--windows", "--work", "inference"])
    arguments = run.parse(sys.argv[1:])
    (first, _), (second, windowed) = run.cases(arguments, None, "fp32")
    assert [first, second] == ["inference, 8 tokens each", "inference, 24 tokens each, base size with windows"]
    assert windowed.sizes.windows == [None, 2, 2]
    assert run.contestants(windowed, [STOCK], ["compiled"]) == [(OURS, KEPT), (MODERNBERT, COMPILED)]
    ours, theirs = (EVERYONE[name].build(windowed.sizes, "sdpa").config for name in (OURS, MODERNBERT))
    assert (ours.local_attention, ours.global_attn_every_n_layers) == (4, 3)
    assert (theirs.local_attention, theirs.layer_types) == (4, ["full_attention", *["sliding_attention"] * 2])
    one_layer = 2 * 24 * 12 * 64
    assert windowed.summary()["flops"] == 3 * one_layer + 4 * 8 * 24 * (24 + 5 + 5)
