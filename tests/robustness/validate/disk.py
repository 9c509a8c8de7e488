"""Looks at what is on disk while all goes on, and judges it by tests/worker/checker.py."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path

from tests.support.record import Record, read, reading
from tests.worker.checker import TERMINAL, judge, judge_growth


class Disk:
    def __init__(self, db: Path, removed: Collection[str]) -> None:
        self.db = db
        self.removed = removed
        self.looks = 0
        self.wrong: list[str] = []
        self._seen: dict[str, Record] = {}

    def look(self, threads: Iterable[str], *, at_rest: bool = False) -> None:
        with reading(self.db) as connection:
            for thread in threads:
                record = read(connection, thread)
                self.looks += 1
                if record is None:
                    self._seen.pop(thread, None)
                    continue
                wrong = [*judge(record, removed=self.removed), *marks(record)]
                before = self._seen.get(thread)
                if before is not None and before.events[:1] == record.events[:1] and before.events:
                    wrong += [what for what in judge_growth(before, record) if not _of_deleted_record(what)]
                if at_rest:
                    wrong += [f"9: {run.run_id} is {run.status}" for run in record.runs if run.status not in TERMINAL]
                self._seen[thread] = record
                self.wrong += [f"{thread} on disk: {each}" for each in wrong]


def _of_deleted_record(what: str) -> bool:
    """A run that is there no more: somebody deleted its record."""
    return what.startswith("3: run") and what.endswith("is None")


def marks(record: Record) -> Iterable[str]:
    """Each run's messages are numbered from 1 on, each there once, whatever number of attempts it took."""
    for run in record.runs:
        own = [step for step in record.steps if step.run_id == run.run_id][1:]
        said = [json.loads(step.update)["messages"][0]["content"] for step in own]
        if said != [f"{run.run_id} {number}" for number in range(1, len(own) + 1)]:
            yield f"5: run {run.run_id} says {said}"
