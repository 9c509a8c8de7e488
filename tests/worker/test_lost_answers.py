"""A Python worker whose calls are done, and answered with UNAVAILABLE: it repeats them, and nothing doubles."""

from collections.abc import Callable
from pathlib import Path

import pytest

from doubletext_statemachine import commands
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import NotReady
from tests.support.server import Service
from tests.worker.test_python_worker import at_work, idle, remotely


def losing(service: Service, kind: type[commands.Command]) -> Callable[[], int]:
    """Lose the answer to every other request of the kind, once it is written. Returns how many were lost."""
    change, made, lost = service.app.changes.change, 0, 0

    async def lossy(request: commands.Command) -> Decision:
        nonlocal made, lost
        decision = await change(request)
        if isinstance(request, kind):
            made += 1
            if made % 2:
                lost += 1
                raise NotReady(what="losing answers")
        return decision

    service.app.changes.change = lossy  # type: ignore[method-assign, assignment]
    return lambda: lost


@pytest.mark.parametrize(
    ("kind", "graph", "contents", "lost"),
    [
        (commands.CommitStep, "scripted", ["a", "a 1", "a 2", "a 3"], 3),
        (commands.SucceedRun, "scripted", ["a", "a 1", "a 2", "a 3"], 1),
        (commands.FailRun, "failing", ["a", "so far"], 1),
    ],
)
async def test_what_was_done_is_not_done_again(
    tmp_path: Path, kind: type[commands.Command], graph: str, contents: list[str], lost: int
) -> None:
    async with remotely(tmp_path / "w.db", lease=3600) as service, at_work(service) as worker:
        thread_id = await service.thread()
        losses = losing(service, kind)
        run = await service.say(thread_id, "a", assistant=graph, steps=3)
        ended = (await service.client.runs.join(thread_id, run["run_id"], wait=20))["run"]
        await idle(worker)
        assert (ended["status"], ended["attempt"]) == ("error" if graph == "failing" else "success", 1)
        assert await service.contents(thread_id) == contents
        assert losses() == lost


async def test_a_release_whose_answer_was_lost_frees_the_thread(tmp_path: Path) -> None:
    async with remotely(tmp_path / "w.db", lease=3600) as service, at_work(service) as worker:
        await service.client.assistants.create("scripted", assistant_id="long", stop_grace=3600)
        thread_id = await service.thread()
        await service.started(thread_id, "old", assistant="long", steps_made=1)
        losses = losing(service, commands.ReleaseRun)
        heir = await service.say(thread_id, "new", "interrupt")
        assert (await service.client.runs.join(thread_id, heir["run_id"], wait=20))["run"]["status"] == "success"
        await idle(worker)
        assert losses() == 1
