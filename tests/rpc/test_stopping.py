"""Stopping a run: at once for what is kept, in its own time for its code."""

import asyncio
from pathlib import Path

import pytest

from doubletext import Context, RunRolledBack, ThreadNotFound, graph
from doubletext.v1 import assistant_service_pb2, run_service_pb2
from doubletext_statemachine.commands import Command, ReleaseRun
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.errors import NotReady
from tests.support.server import Service, gates, serving, told

pytestmark = pytest.mark.executors("server", "worker")


async def stubborn_assistant(service: Service, grace: float) -> str:
    return (await service.client.assistants.create("scripted", stop_grace=grace))["assistant_id"]


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_late_step_of_a_graph_that_ignores_its_cancellation_is_refused(service: Service, strategy: str) -> None:
    """The graph goes on past its grace; then, with its successor done and gone home, it yields."""
    thread_id = await service.thread()
    assistant = await stubborn_assistant(service, grace=0.05)
    first = await service.started(thread_id, "old", assistant=assistant, stubborn=True, steps=3, after={"0": "late"})
    second = await service.say(thread_id, "new", strategy)
    joined = await service.client.runs.join(thread_id, second["run_id"])
    assert joined["run"]["status"] == "success"
    expected = ["old", "new", "new 1"] if strategy == "interrupt" else ["new", "new 1"]
    assert await service.contents(thread_id) == expected
    before = await service.events(thread_id)

    gates["late"].set()
    await attempts_over(service)

    assert await service.contents(thread_id) == expected
    assert await service.events(thread_id) == before
    if strategy == "interrupt":
        assert (await service.client.runs.get(thread_id, first["run_id"]))["status"] == "interrupted"
    else:
        with pytest.raises(RunRolledBack):
            await service.client.runs.get(thread_id, first["run_id"])


async def attempts_over(service: Service) -> None:
    """Wait until no graph is at work, the stopped ones included."""
    while service.app.executor._tasks:
        await asyncio.wait(service.app.executor._tasks)


@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_a_late_step_while_the_successor_runs_does_not_touch_its_state(service: Service, strategy: str) -> None:
    thread_id = await service.thread()
    assistant = await stubborn_assistant(service, grace=0)
    await service.started(thread_id, "old", assistant=assistant, stubborn=True, steps=3, after={"0": "late"})
    second = await service.started(
        thread_id, "new", multitask_strategy=strategy, steps_made=1, steps=2, after={"1": "finish"}
    )
    gates["late"].set()
    while len(service.app.executor._tasks) > 1:
        await asyncio.wait(service.app.executor._tasks, return_when=asyncio.FIRST_COMPLETED)
    gates["finish"].set()
    await service.client.runs.join(thread_id, second["run_id"])
    kept = ["old"] if strategy == "interrupt" else []
    assert await service.contents(thread_id) == [*kept, "new", "new 1", "new 2"]


async def test_the_successor_starts_as_soon_as_the_stopped_code_has_ended(service: Service) -> None:
    thread_id = await service.thread()
    assistant = await stubborn_assistant(service, grace=3600)
    await service.started(thread_id, "old", assistant=assistant, stubborn=True, steps=2, after={"0": "obey"})
    second = await service.say(thread_id, "new", "interrupt")
    waiting = await service.client.runs.join(thread_id, second["run_id"], wait=0.1)
    assert (waiting["run"]["status"], waiting["run"]["queue_position"]) == ("pending", 1)
    gates["obey"].set()
    assert (await service.client.runs.join(thread_id, second["run_id"]))["run"]["status"] == "success"


async def test_joiners_of_a_superseded_run_get_its_end_at_once(service: Service) -> None:
    for strategy, status in (("interrupt", "interrupted"), ("rollback", "deleted")):
        thread_id = await service.thread()
        first = await service.started(thread_id, "old", stubborn=True, steps_made=1)
        joins = [asyncio.create_task(service.client.runs.join(thread_id, first["run_id"])) for _ in range(5)]
        await service.client.runs.join(thread_id, first["run_id"], wait=0)
        second = await service.say(thread_id, "new", strategy)
        for joined in await asyncio.gather(*joins):
            run = joined["run"]
            assert (run["status"], run["superseded_by"], run["reason"]) == (status, second["run_id"], "SUPERSEDED")
            left = [m["content"] for m in joined["state"]["values"].get("messages", [])]
            assert left == (["old", "old 1"] if strategy == "interrupt" else [])
            assert bool(run["input"]) == (strategy == "interrupt")
        gates["never old"].set()
        await attempts_over(service)
        gates["never old"].clear()


async def test_cancel_is_final_at_once_and_idempotent(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "a", steps_made=1)
    queued = await service.say(thread_id, "b", "enqueue")
    cancelled = await service.client.runs.cancel(thread_id, first["run_id"])
    assert (cancelled["status"], cancelled["reason"], cancelled["superseded_by"]) == ("interrupted", "CANCELLED", "")
    assert await service.client.runs.cancel(thread_id, first["run_id"], action="rollback") == cancelled
    await service.client.runs.join(thread_id, queued["run_id"])
    assert await service.contents(thread_id) == ["a", "a 1", "b", "b 1"]


async def test_cancel_with_rollback_leaves_nothing_and_may_be_repeated(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "a", steps_made=1)
    cancelled = await service.client.runs.cancel(thread_id, first["run_id"], action="rollback")
    assert (cancelled["status"], cancelled["input"]) == ("deleted", {})
    again = await service.client.runs.cancel(thread_id, first["run_id"], action="rollback")
    assert (again["run_id"], again["status"], again["reason"]) == (first["run_id"], "deleted", "CANCELLED")
    assert await service.contents(thread_id) == []
    assert (await service.client.threads.get(thread_id))["status"] == "idle"


async def test_cancel_waits_for_the_code_when_asked_to(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "a", stubborn=True, steps=2, after={"0": "obey"})
    cancel = run_service_pb2.CancelRunRequest(run_id=first["run_id"])
    cancel.wait.seconds = 50
    call = asyncio.ensure_future(service.runs.CancelRun(cancel))
    joined = await service.client.runs.join(thread_id, first["run_id"])
    assert joined["run"]["status"] == "interrupted"
    assert not call.done()
    gates["obey"].set()
    await call


async def test_cancelling_a_queued_run_leaves_the_others_in_order(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "a")
    queued = [await service.say(thread_id, text, "enqueue") for text in "bcd"]
    await service.client.runs.cancel(thread_id, queued[1]["run_id"])
    positions = [(await service.client.runs.get(thread_id, run["run_id"]))["queue_position"] for run in queued]
    assert positions == [1, 0, 2]
    gates["never a"].set()
    await service.client.runs.join(thread_id, queued[2]["run_id"])
    assert await service.contents(thread_id) == ["a", "a 1", "b", "b 1", "d", "d 1"]
    assert (await service.client.runs.get(thread_id, first["run_id"]))["status"] == "success"


async def test_a_run_that_takes_too_long_ends_timeout_and_the_next_one_starts(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.say(thread_id, "a", timeout=0.05, after={"0": "never"})
    second = await service.say(thread_id, "b", "enqueue")
    joined = await service.client.runs.join(thread_id, first["run_id"])
    assert (joined["run"]["status"], joined["run"]["reason"]) == ("timeout", "TIMEOUT")
    await service.client.runs.join(thread_id, second["run_id"])
    assert await service.contents(thread_id) == ["a", "b", "b 1"]


async def test_a_delayed_run_starts_when_it_is_due_and_holds_nobody_up(service: Service) -> None:
    thread_id = await service.thread()
    delayed = await service.say(thread_id, "later", delay=0.2)
    now = await service.say(thread_id, "now", "enqueue")
    await service.client.runs.join(thread_id, now["run_id"])
    assert (await service.client.runs.get(thread_id, delayed["run_id"]))["status"] == "pending"
    done = (await service.client.runs.join(thread_id, delayed["run_id"]))["run"]
    assert done["status"] == "success"
    assert done["start_time"] is not None
    assert done["due_time"] is not None
    assert done["start_time"] >= done["due_time"]
    assert await service.contents(thread_id) == ["now", "now 1", "later", "later 1"]


async def test_a_graph_that_raises_ends_error_and_its_steps_stay(service: Service) -> None:
    thread_id = await service.thread()
    run = await service.say(thread_id, "a", assistant="failing")
    joined = await service.client.runs.join(thread_id, run["run_id"])
    assert joined["run"]["status"] == "error"
    assert joined["run"]["error"] == {"type": "LookupError", "message": "no such weather"}
    assert await service.contents(thread_id) == ["a", "so far"]
    assert (await service.client.threads.get(thread_id))["status"] == "error"


async def test_deleting_a_thread_stops_its_runs_and_tells_who_waits(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "a", stubborn=True, steps=3, after={"0": "late"})
    queued = await service.say(thread_id, "b", "enqueue")
    joins = [asyncio.create_task(service.client.runs.join(thread_id, run["run_id"])) for run in (first, queued)]
    await service.client.runs.join(thread_id, first["run_id"], wait=0)
    await service.client.threads.delete(thread_id)
    for joined in await asyncio.gather(*joins):
        assert (joined["run"]["status"], joined["run"]["reason"]) == ("deleted", "THREAD_DELETED")
        assert joined["state"]["values"] == {}
    gates["late"].set()
    await attempts_over(service)
    assert [thread async for thread in service.client.threads.list()] == []


async def test_an_assistants_runs_go_on_after_it_was_deleted(service: Service) -> None:
    assistant = await stubborn_assistant(service, grace=1)
    thread_id = await service.thread()
    run = await service.say(thread_id, "a", assistant=assistant, after={"0": "go"})
    await service.assistants.DeleteAssistant(assistant_service_pb2.DeleteAssistantRequest(assistant_id=assistant))
    gates["go"].set()
    joined = await service.client.runs.join(thread_id, run["run_id"])
    assert (joined["run"]["status"], joined["run"]["assistant_id"]) == ("success", assistant)


async def test_what_happened_stands_in_the_event_log_in_order(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "a", steps_made=1)
    second = await service.say(thread_id, "b", "interrupt")
    await service.client.runs.join(thread_id, second["run_id"])
    names = {first["run_id"]: "A", second["run_id"]: "B"}
    assert [told(event, names) for event in await service.events(thread_id)] == [
        "A pending",
        "A running",
        "A step 1",
        "A step 2",
        "B pending",
        "A interrupted",
        "B running",
        "B step 3",
        "B step 4",
        "B success",
    ]


async def test_joining_a_run_that_never_ran_shows_what_a_rollback_left_of_the_state(service: Service) -> None:
    """It was cancelled while another run had steps, which were then rolled back: their numbers come back as others'."""
    thread_id = await service.thread()
    kept = await service.say(thread_id, "kept")
    await service.client.runs.join(thread_id, kept["run_id"])
    await service.started(thread_id, "gone", steps_made=2)
    queued = await service.say(thread_id, "queued", "enqueue")
    await service.client.runs.cancel(thread_id, queued["run_id"])
    later = await service.say(thread_id, "later", "rollback", steps=5)
    await service.client.runs.join(thread_id, later["run_id"])

    joined = await service.client.runs.join(thread_id, queued["run_id"])
    assert joined["run"]["status"] == "interrupted"
    assert [m["content"] for m in joined["state"]["values"]["messages"]] == ["kept", "kept 1"]


async def test_superseded_runs_come_without_their_inputs_when_these_are_too_much_for_an_answer(
    service: Service,
) -> None:
    thread_id = await service.thread()
    await service.started(thread_id, "a")
    big = [await service.say(thread_id, "b", "enqueue", ballast="x" * 1_500_000) for _ in range(3)]
    new = await service.say(thread_id, "c", "interrupt", request_id="again")
    repeated = await service.say(thread_id, "c", "interrupt", request_id="again")
    for answer in (new, repeated):
        assert [bool(run["input"]) for run in answer["superseded"]] == [True, True, False, False]
    assert len((await service.client.runs.get(thread_id, big[2]["run_id"]))["input"]["ballast"]) == 1_500_000


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@graph
async def unspeakable(ctx: Context) -> dict[str, object]:
    raise SystemExit(3) if ctx.input.get("exits") else Unspeakable


async def test_a_graph_that_exits_or_cannot_say_what_is_wrong_ends_error(tmp_path: Path) -> None:
    async with serving(tmp_path / "test.db", (unspeakable,)) as service:
        thread_id = await service.thread()
        for given, kind in (({"exits": True}, "SystemExit"), ({}, "Unspeakable")):
            run = await service.client.runs.create(thread_id, "unspeakable", input=given)
            ended = (await service.client.runs.join(thread_id, run["run_id"]))["run"]
            assert ended["status"] == "error"
            assert ended["error"] is not None
            assert ended["error"]["type"] == kind


async def test_a_thread_that_is_deleted_as_soon_as_it_is_made_was_made(service: Service) -> None:
    async def make_and_delete() -> str:
        made = await asyncio.gather(
            service.client.threads.create("t"), service.client.threads.delete("t"), return_exceptions=True
        )
        if isinstance(made[1], ThreadNotFound):
            await service.client.threads.delete("t")
        assert not isinstance(made[0], BaseException), made[0]
        return made[0]["status"]

    assert [await make_and_delete() for _ in range(50)] == ["idle"] * 50


async def test_a_run_that_could_not_be_handed_back_is_not_failed_by_the_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its graph is cancelled, since the process ends; the run is for the next process to take up."""
    async with serving(tmp_path / "test.db") as service:
        thread_id = await service.thread()
        run = await service.started(thread_id, "left")
        change = service.app.changes.change

        async def refusing(request: Command) -> Decision:
            if isinstance(request, ReleaseRun):
                raise NotReady(what="unable to write")
            return await change(request)

        monkeypatch.setattr(service.app.changes, "change", refusing)
        assert await service.app.executor.drain(0)
        await attempts_over(service)
        assert (await service.client.runs.get(thread_id, run["run_id"]))["status"] == "running"
