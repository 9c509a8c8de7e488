"""What lists are served from agrees with what it is made of, after every kind of change, and in older files too."""

import json
import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from doubletext_server.store.sqlite import labels, schema
from doubletext_statemachine import commands
from doubletext_statemachine.errors import Refusal
from doubletext_statemachine.model import Run
from doubletext_statemachine.words import STATUS_AFTER, CancelAction, Strategy, ThreadStatus
from tests.support.clock import SECOND, ManualClock
from tests.support.database_files import opens
from tests.support.store import GRAPHS, Hand, SqliteHand, everything, text

MIGRATION: Final = next(index for index, sql in enumerate(schema.MIGRATIONS) if "TABLE thread_labels" in sql)


def assert_agreement(path: Path) -> None:
    """The outcomes and the labels are those that follow from the runs and from the metadata."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        threads = connection.execute("SELECT * FROM threads").fetchall()
        runs = connection.execute("SELECT * FROM runs").fetchall()
    held = {name: sorted(rows) for name, rows in everything(path).items() if name.endswith("_labels")}
    for thread in threads:
        ended = [run for run in runs if run["thread_id"] == thread["thread_id"] and run["end_time"] is not None]
        newest = max(ended, key=lambda run: (run["end_time"], run["sequence"]), default=None)
        after = {"success": "idle", "interrupted": "interrupted", "error": "error", "timeout": "error"}
        assert thread["outcome"] == (after[newest["status"]] if newest else "idle"), thread["thread_id"]
    assert held["thread_labels"] == sorted(
        (label, thread["create_time"], thread["thread_id"])
        for thread in threads
        for label in labels.of(thread["metadata"])
    )
    assert held["run_labels"] == sorted(
        (run["thread_id"], label, run["sequence"]) for run in runs for label in labels.of(run["metadata"])
    )


NEEDED: Final = (
    "create",
    "admit",
    "claim",
    "succeed",
    "fail",
    "cancel",
    "roll back",
    "delete run",
    "relabel",
    "delete",
)


class Play:
    """Requests at random about two threads and what is on them."""

    def __init__(self, hand: Hand, seed: int) -> None:
        self.hand = hand
        self.dice = random.Random(seed)
        self.runs = 0
        self.done: Counter[str] = Counter()

    def metadata(self) -> str:
        return self.dice.choice(["{}", '{"a":1}', '{"a":2,"b":{"c":1}}', '{"b":{"c":1}}'])

    async def run_of(self, thread_id: str) -> Run:
        """Any run of the thread; the one that runs more often than not."""
        records = (await self.hand.store.runs(thread_id, [], True, 1000, None)).items
        running = [record for record in records if record.run.epoch and record.run.end_time is None]
        return self.dice.choice([*records, *running * 5]).run

    async def step(self) -> None:
        dice, thread_id = self.dice, self.dice.choice(["t", "u"])
        if dice.randrange(20) == 0:
            self.hand.clock.now -= 5 * SECOND
            await self.hand.reopen()
        self.hand.clock.now += dice.choice([0, 0, 1, 6 * SECOND])
        kinds = ["admit"] * 5 + ["claim"] * 6 + ["succeed", "fail"] * 4 + ["release", "tick"]
        kinds += ["cancel", "roll back", "delete run", "relabel", "rename", "update", "recover", "delete"]
        kind = dice.choice(kinds)
        try:
            await self.hand.change(await self.request(kind, thread_id))
            self.done[kind] += 1
        except (Refusal, IndexError):  # IndexError: there is no run
            if dice.randrange(2):
                await self.create(thread_id)

    async def create(self, thread_id: str) -> None:
        try:
            await self.hand.create(thread_id, metadata=self.metadata())
        except Refusal:
            return
        self.done["create"] += 1

    async def request(self, kind: str, thread_id: str) -> commands.Command:
        if kind == "admit":
            self.runs += 1
            more: dict[str, Any] = {"metadata": self.metadata(), "create_thread": True}
            strategy = self.dice.choice(list(Strategy))
            return self.hand.admission(f"r{self.runs}", thread_id, strategy, timeout=5 * SECOND, **more)
        if kind in ("claim", "tick", "recover", "delete"):
            plain = {"tick": commands.Tick, "recover": commands.Recover, "delete": commands.DeleteThread}
            return plain[kind](thread_id) if kind in plain else commands.ClaimRun(thread_id, GRAPHS)
        if kind in ("relabel", "rename"):
            return commands.UpdateThread(
                thread_id, {"metadata": self.metadata()} if kind == "relabel" else {"max_queued_runs": 7}
            )
        if kind == "update":
            return commands.UpdateState(thread_id, "{}", {})
        run = await self.run_of(thread_id)
        key = (thread_id, run.run_id)
        if kind in ("cancel", "roll back"):
            return commands.CancelRun(*key, CancelAction.ROLLBACK if kind == "roll back" else CancelAction.INTERRUPT)
        if kind == "delete run":
            return commands.DeleteRun(*key)
        if kind == "fail":
            return commands.FailRun(*key, run.epoch, "E", "m")
        return commands.SucceedRun(*key, run.epoch) if kind == "succeed" else commands.ReleaseRun(*key, run.epoch)


@pytest.mark.parametrize("seed", range(3))
async def test_outcomes_and_labels_agree_with_runs_and_metadata_whatever_happens(sqlite: SqliteHand, seed: int) -> None:
    play = Play(sqlite, seed)
    while sum(play.done.values()) < 120 or min(play.done[kind] for kind in NEEDED) < 2:
        await play.step()
        assert_agreement(sqlite.path)
        for status in ThreadStatus:
            for record in (await sqlite.store.threads([status], 10, None)).items:
                assert record.status is status
        listed = (await sqlite.store.threads(list(ThreadStatus), 10, None)).items
        assert len(listed) == len(everything(sqlite.path)["threads"])


# Files from before


def of_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without labels and outcomes, with a thread for each status that a run can end in, and one without runs."""
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:MIGRATION])
        path.touch()
        schema.prepare(str(path))
    with closing(schema.connect(str(path), read_only=False)) as connection:
        connection.execute("INSERT INTO assistants VALUES (1, 'a', 'g', 1, '{}', '{}', '{}', 3, 0, NULL, NULL)")
        insert = "INSERT INTO {} ({}) VALUES ({})"
        thread = "thread_id, create_time, update_time, metadata, last_sequence, last_step, last_event"
        run = (
            "run_id, thread_id, sequence, assistant_key, strategy, create_time, due_time, status, attempt, epoch, "
            "end_time, last_step, input, metadata"
        )
        for number, ended in enumerate(
            [(), *((status.value,) for status in STATUS_AFTER if status), ("error", "success")]
        ):
            name, metadata = f"t{number}", text({"n": number, "k": {"b": 1.0, "a": [True]}}) if number % 2 else "{}"
            connection.execute(insert.format("threads", thread, "?,?,?,?,?,?,?"), (name, number, 9, metadata, 9, 9, 9))
            for sequence, status in enumerate([*ended, "pending"], 1):
                row = (f"{name} {sequence}", name, sequence, 1, "enqueue", 1, 1, status, 0, 0)
                last = (None if status == "pending" else 10 - sequence, 0, "{}", metadata)
                connection.execute(insert.format("runs", run, ",".join("?" * 14)), (*row, *last))


async def test_a_file_of_an_older_version_gets_the_labels_and_outcomes_of_all_it_holds(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_before(path, monkeypatch)
    await opens(path)
    assert_agreement(path)
    held = everything(path)
    assert len(held["thread_labels"]) == 6
    assert len(held["run_labels"]) == 14
    assert len(held["threads"]) == 6
    with closing(sqlite3.connect(path)) as connection:
        outcomes = connection.execute("SELECT outcome FROM threads ORDER BY thread_id").fetchall()
    assert [outcome for (outcome,) in outcomes] == ["idle", "interrupted", "idle", "error", "error", "error"]


# Labels


def test_equal_values_have_equal_labels_and_no_others_have() -> None:
    same = [
        '{"a":1,"b":{"c":[2.5],"d":""}}',
        '{"b": {"d": "", "c": [25e-1]}, "a": 1.0}',
        '{"a":1e0,"b":{"c":[2.5],"d":""}}',
    ]
    assert len({tuple(sorted(labels.of(each))) for each in same}) == 1
    other = [
        "1",
        '"1"',
        "true",
        "null",
        "[1]",
        "[[1]]",
        '{"1":1}',
        "0",
        "false",
        '""',
        "[]",
        "{}",
        '"true"',
        '"null"',
        "1.5",
    ]
    found = [
        label for value in other for key in ("a", "b", "") for label in labels.of(json.dumps({key: json.loads(value)}))
    ]
    assert len(set(found)) == len(other) * 3


def test_a_label_gives_nothing_away_and_is_short() -> None:
    (label,) = labels.of(text({"secret": "secret" * 1000}))
    assert len(label) == 32
    assert "secret" not in label
