"""A server that is killed while workers execute its runs: what it finds when it comes back."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from doubletext import Client
from doubletext_server.clock import system_clock
from tests.support.sound_files import files_are_sound
from tests.support.worker_process import server_cluster
from tests.worker.takeover import assistant, changes, contents, say, starts
from tests.worker.test_takeover import CALLS, KILL, STOP, TERM, WAKE, db

__all__ = ["db", "files_are_sound"]


async def test_a_killed_server_finds_its_workers_at_their_runs(db: Path) -> None:
    """The same attempts go on with the same leases: nothing is executed again."""
    async with server_cluster(db) as place:
        async with Client(place.address) as client:
            await assistant(client)
            worker = await place.worker()
            run = await say(client, place, "a", stops=["1.1", "1.2"])
            queued = await say(client, place, "b")
            await place.gate.reached("a 1.1")
            await place.server.end(KILL)
        place.gate.open("a 1.1")  # its next step finds no server
        await worker.says("CommitStep")
        await place.serve(lease=20)
        async with Client(place.address) as client:
            await place.gate.reached("a 1.2")
            place.gate.open("a 1.2")
            for each in (run, queued):
                ended = (await client.runs.join("t", each["run_id"]))["run"]
                assert (ended["status"], ended["attempt"]) == ("success", 1)
            assert await contents(client) == ["a", "a 1", "a 2", "a 3", "b", "b 1", "b 2", "b 3"]
            assert changes(db, run["run_id"]) == ["pending", "running", "success"]
            worker.send(TERM)
            assert await worker.gone() == 0


async def test_a_lease_that_ran_out_while_the_server_was_gone_is_refused(db: Path) -> None:
    async with server_cluster(db, lease=3600) as place:
        async with Client(place.address) as client:
            await assistant(client)
            run = await say(client, place, "a")
            first = await place.commanded_worker()
            await first.answer_to("claim")
            await first.answer_to("a 1")
            await place.server.end(KILL)
        with closing(sqlite3.connect(db)) as connection, connection:  # an hour goes by
            connection.execute("UPDATE runs SET lease_expires = start_time + 1")
        await place.serve(lease=3600)
        second = await place.commanded_worker()
        assert (await second.answer_to("claim"))["attempt"] == 2
        for call in CALLS:
            answer = await first.answer_to(call)
            while answer["reason"] == "UNAVAILABLE":  # until it has connected anew
                answer = await first.answer_to(call)
            assert (answer["reason"], answer["cause"]) == ("LEASE_LOST", "CLAIMED_AGAIN")
        assert changes(db, run["run_id"]) == ["pending", "running", "pending", "running"]


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_server_that_dies_between_stop_and_acknowledgement_forgets_neither(db: Path, strategy: str) -> None:
    async with server_cluster(db, lease=3600) as place:
        async with Client(place.address) as client:
            await assistant(client, stop_grace=3600)
            worker = await place.worker()
            run = await say(client, place, "a", stops=["1.2"])
            await place.gate.reached("a 1.2")
            worker.send(STOP)
            successor = await say(client, place, "b", strategy)
            await place.server.end(KILL)
        await place.serve(lease=3600)
        async with Client(place.address) as client:
            waits = await client.runs.get("t", successor["run_id"])
            assert (waits["status"], waits["queue_position"]) == ("pending", 1)
            woken = system_clock()
            worker.send(WAKE)
            await worker.says("stopped")  # it is told by the server that came back
            ended = (await client.runs.join("t", successor["run_id"]))["run"]
            assert (ended["status"], ended["attempt"]) == ("success", 1)
            assert starts(db, successor["run_id"])[0] > woken
            end = "interrupted" if strategy == "interrupt" else "deleted"
            assert changes(db, run["run_id"]) == ["pending", "running", end]
