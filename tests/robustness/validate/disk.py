"""Looks at the file while all goes on: `check` must find it sound, and the steps be those that the graph makes."""

import json
from collections.abc import Iterator
from pathlib import Path

from doubletext_server.store.check import check
from tests.support.events import reading


class Disk:
    def __init__(self, db: Path) -> None:
        self.db = db
        self.looks = 0
        self.wrong: list[str] = []

    def look(self) -> None:
        self.looks += 1
        self.wrong += [f"on disk: {line}" for line in (*check(str(self.db)).lines(), *self._misnumbered())]

    def look_at_rest(self) -> None:
        """When all runs have come to their end."""
        self.look()
        with reading(self.db) as connection:
            for run in connection.execute("SELECT run_id, status FROM runs WHERE status IN ('pending', 'running')"):
                self.wrong.append(f"on disk: run {run[0]} is {run[1]} for ever")

    def _misnumbered(self) -> Iterator[str]:
        """A run's messages are numbered from 1 on, each there once, whatever number of attempts it took."""
        made: dict[str, list[str]] = {}
        with reading(self.db) as connection:
            for run_id, update in connection.execute(
                "SELECT s.run_id, s.body FROM steps s JOIN runs r USING (run_id) "
                "WHERE s.step > r.base_step + 1 AND s.body ->> 'messages' IS NOT NULL ORDER BY s.thread_id, s.step"
            ):
                made.setdefault(run_id, []).append(json.loads(update)["messages"][0]["content"])
        for run_id, texts in made.items():
            if texts != [f"{run_id} {number}" for number in range(1, len(texts) + 1)]:
                yield f"run {run_id} says {texts}"
