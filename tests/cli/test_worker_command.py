"""`doubletext worker` as a process: how it starts, ends, and what it says if it cannot."""

import signal
from pathlib import Path

import pytest

from doubletext import Client
from tests.cli.command_line import invoke
from tests.cli.command_line import run as command
from tests.support.worker_process import GRAPHS, Child, server_cluster
from tests.worker.takeover import assistant, contents, say


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_runs_finish_and_no_more_begin(tmp_path: Path, number: signal.Signals) -> None:
    async with server_cluster(tmp_path / "y.db") as place, Client(place.address) as client:
        await assistant(client)
        worker = await place.worker(slots=2)
        run = await say(client, place, "a", stops=["1.1"])
        queued = await say(client, place, "b")
        await place.gate.reached("a 1.1")
        worker.send(number)
        await worker.says("draining")
        place.gate.open("a 1.1")
        assert await worker.gone() == 0
        ended = (await client.runs.join("t", run["run_id"], wait=0))["run"]
        assert (ended["status"], ended["attempt"]) == ("success", 1)
        left = await client.runs.get("t", queued["run_id"])
        assert (left["status"], left["attempt"]) == ("pending", 0)
        assert await contents(client) == ["a", "a 1", "a 2", "a 3"]
        assert not any("Traceback" in line for line in worker.log)


async def test_a_worker_waits_for_a_server_that_is_not_there_and_makes_the_assistants(tmp_path: Path) -> None:
    async with server_cluster(tmp_path / "y.db") as place:
        await place.server.end(signal.SIGTERM)
        worker = await place.worker("counting", "kills")
        await worker.says("CreateAssistant")  # which will be tried again
        await place.serve(lease=20)
        await worker.says("claiming")
        async with Client(place.address) as client:
            assert {"counting", "kills"} < {each["assistant_id"] async for each in client.assistants.list()}
            await client.threads.create("t")
            run = await say(client, place, "a")
            assert (await client.runs.join("t", run["run_id"]))["run"]["status"] == "success"
        worker.send(signal.SIGTERM)
        assert await worker.gone() == 0


async def test_a_worker_that_finds_no_server_can_be_stopped() -> None:
    worker = Child("doubletext", "worker", "--connect", "127.0.0.1:1", "--graphs", f"{GRAPHS}:counting")
    await worker.start()
    try:
        await worker.says("CreateAssistant")
        worker.send(signal.SIGTERM)
        assert await worker.gone() == 0
    finally:
        await worker.kill()


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        ("nowhere.py:g", "--graphs nowhere.py:g: cannot import nowhere.py: FileNotFoundError"),
        (f"{GRAPHS}:nobody", f"--graphs {GRAPHS}:nobody: nobody is not there; name an async function"),
    ],
)
def test_graphs_that_cannot_be_had_are_named(graphs: str, message: str) -> None:
    result = invoke("worker", "--graphs", graphs)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"Error: {message}")


def test_a_worker_needs_graphs() -> None:
    result = command("worker")
    assert result.returncode == 2
    assert "Missing option '--graphs'" in result.stderr
