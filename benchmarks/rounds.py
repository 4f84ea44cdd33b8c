"""Turns of all contestants of a case, round after round, until the time is up.

A machine that is slow for a while is slow for all; who begins changes from round to round. What is compiled is
compiled before the first round, several contestants at a time; that takes no more than a part of the case's time, and
whoever is not ready by then runs uncompiled.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait as wait_for
from typing import Any

from benchmarks.contestants import OURS, is_missing
from benchmarks.work import Case, Variant
from benchmarks.worker import OutOfMemoryError, Worker

Contestants = Sequence[tuple[str, Variant]]


@dataclass(frozen=True)
class Pace:
    """How long a case may take.

    Attributes:
        seconds: of all of it; rounds begin while there is time for another one.
        limit: seconds that it may take on a machine that is too slow for one round in its time; the same by default.
        start: share of the seconds within which whoever is compiled has to be ready.
        turn: seconds that a turn takes at least.
        rounds: exactly so many instead, however long they take; None: as many as there is time for.
        starting: how many contestants start at a time.
    """

    seconds: float
    limit: float | None = None
    start: float = 0.7
    turn: float = 0.5
    rounds: int | None = None
    starting: int = max(1, os.cpu_count() or 1)


class Field:
    """The contestants of a run, each a process.

    Args:
        contestants: names, and how they run.
        case: what they do first.
        pace: how long starting may take.

    Attributes:
        workers: those that are ready, in the order of ``contestants``.
        skipped: the others, and why.
    """

    def __init__(self, contestants: Contestants, case: Case, pace: Pace) -> None:
        self.workers: list[Worker] = []
        self.skipped: list[dict[str, str]] = []
        self.descriptions: dict[Worker, dict[str, Any]] = {}
        self._case, self._at_a_time, self._resting = case, pace.starting, list[Worker]()
        begun = time.monotonic()
        limit = begun + (pace.limit or pace.seconds)
        self._places = {each: number for number, each in enumerate(contestants)}
        present = [each for each in contestants if not self._is_missing(*each)]
        self._start([each for each in present if not each[1].compiled], limit)
        failed = self._start([each for each in present if each[1].compiled], begun + pace.start * pace.seconds)
        plain = {
            each: (each[0], replace(each[1], compiled=False, any_length=False)) for each in failed if each[1].compiled
        }
        again = {each: other for each, other in plain.items() if other not in self._places}
        self._places |= {other: self._places[each] for each, other in again.items()}
        self._start(list(again.values()), limit)
        self._sort()

    def measure(self, case: Case, pace: Pace, profiled: int = 0) -> dict[str, Any]:
        """Returns ``results``: the seconds of every round and the memory of everyone; who is ``skipped``, and why; and
        the number of ``rounds``.

        Args:
            case: that for which the field is ready.
            pace: of the rounds.
            profiled: so many operations of ours are listed.
        """
        begun = time.monotonic()
        end, limit = begun + pace.seconds, begun + (pace.limit or pace.seconds)
        seconds: dict[Worker, list[float]] = {worker: [] for worker in self.workers}
        rounds, longest = 0, 0.0
        while self._goes_on(pace, rounds, end - longest):
            start = time.monotonic()
            for worker in in_turn(self.workers, rounds):
                left = limit - time.monotonic() + 3 * longest  # a later round that has begun is finished
                took = self._try(worker, lambda worker=worker, left=left: worker.turn(pace.turn, left))
                seconds[worker] += [] if took is None else [took]
            rounds += 1
            longest = max(longest, time.monotonic() - start)
        return {"results": list(self._results(seconds, profiled)), "skipped": self.skipped, "rounds": rounds}

    def take(self, case: Case, seconds: float) -> None:
        """Gives everyone other work for the same models."""
        end = time.monotonic() + seconds
        self._case, self.skipped = case, []
        self.workers, self._resting = [*self.workers, *self._resting], []
        self._sort()
        hungry = []
        everyone = list(self.workers)
        for first in range(0, len(everyone), self._at_a_time):
            hungry += self._feed(everyone[first : first + self._at_a_time], end)
        for worker in hungry:  # once more, with all the memory
            if self._feed([worker], end):
                self.workers.remove(worker)
                self._resting.append(worker)
                self._skip(worker.name, worker.variant, "not enough memory")

    def _feed(self, workers: Sequence[Worker], end: float) -> list[Worker]:
        """Gives some their work at the same time, until ``end``; returns who had not enough memory for it."""
        hungry = []
        for worker in workers:
            worker.take(self._case)
        for worker in workers:
            try:
                worker.ready(end - time.monotonic())
            except OutOfMemoryError:
                hungry.append(worker)
            except RuntimeError as error:
                self._drop(worker, error)
        return hungry

    def stop(self) -> None:
        """Ends all processes."""
        for worker in (*self.workers, *self._resting):
            worker.stop()
        self.workers, self._resting = [], []

    def _sort(self) -> None:
        self.workers.sort(key=lambda worker: self._places[worker.name, worker.variant])

    def _goes_on(self, pace: Pace, rounds: int, last_start: float) -> bool:
        if pace.rounds is not None:
            return rounds < pace.rounds
        return bool(self.workers) and (rounds == 0 or time.monotonic() <= last_start)

    def _is_missing(self, name: str, variant: Variant) -> bool:
        reason = is_missing(name)
        if reason:
            self._skip(name, variant, reason)
        return bool(reason)

    def _start(self, contestants: Contestants, end: float) -> Contestants:
        """Returns who could not be started by then."""
        waiting, starting = list(contestants), {}
        failed: list[tuple[str, Variant]] = []
        while waiting or starting:
            while waiting and len(starting) < self._at_a_time:
                worker = Worker(*waiting.pop(0), self._case)
                starting[worker.connection] = worker
            answered = wait_for(list(starting), timeout=max(0.0, end - time.monotonic()))
            for connection in answered or list(starting):
                worker = starting.pop(connection)
                try:
                    self.descriptions[worker] = worker.ready(0)
                except RuntimeError as error:
                    worker.stop()
                    failed.append((worker.name, worker.variant))
                    self._skip(*failed[-1], str(error))
                else:
                    self.workers.append(worker)
            if not answered:
                for late in waiting:
                    self._skip(*late, "not started within its share of the time")
                return [*failed, *waiting]
        return failed

    def _try(self, worker: Worker, action: Any) -> Any:
        try:
            return action()
        except RuntimeError as error:
            self._drop(worker, error)
            return None

    def _drop(self, worker: Worker, error: RuntimeError) -> None:
        worker.stop()
        self.workers.remove(worker)
        self._skip(worker.name, worker.variant, str(error))

    def _skip(self, name: str, variant: Variant, why: str) -> None:
        self.skipped.append({"contestant": name, "variant": str(variant), "why": why})

    def _results(self, seconds: dict[Worker, list[float]], profiled: int) -> Iterator[dict[str, Any]]:
        ours = next((worker for worker in self.workers if worker.name == OURS), None)  # in its first setting
        of_ours = seconds[ours] if ours else []
        for worker in list(self.workers):
            profile = {}
            if profiled and worker is ours:
                profile = {"profile": self._try(worker, lambda worker=worker: worker.profile(profiled))}
            memory = self._try(worker, worker.peak)
            if memory is None:
                continue
            others = {} if worker is ours else {"seconds_of_ours": of_ours}
            yield {
                "contestant": worker.name, "variant": str(worker.variant), **self.descriptions[worker],
                "seconds": seconds[worker], **others, **profile, "peak_bytes": memory,
            }  # fmt: skip


def in_turn(workers: Sequence[Worker], number: int) -> list[Worker]:
    """Returns them in the order of a round."""
    first = number % max(1, len(workers))
    return [*workers[first:], *workers[:first]]


def measured(contestants: Contestants, case: Case, pace: Pace, profiled: int = 0) -> dict[str, Any]:
    """Returns what ``Field.measure`` does, of contestants that live for this case only."""
    begun = time.monotonic()
    field = Field(contestants, case, pace)
    try:
        spent = time.monotonic() - begun
        limit = (pace.limit or pace.seconds) - spent
        return field.measure(case, replace(pace, seconds=pace.seconds - spent, limit=limit), profiled)
    finally:
        field.stop()
