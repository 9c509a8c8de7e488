"""Another face over the same use cases: a dict in, a dict out, and no protobuf between."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from enum import Enum
from typing import Any, TypeAlias, TypeVar

import pytest

from doubletext.v1.thread_service_pb2 import ListStatesRequest
from doubletext_server.app import App
from doubletext_server.store.protocol import EventRecord, RunRecord
from doubletext_server.usecases.admission import NewRun
from doubletext_server.usecases.leases import LeaseKey
from doubletext_server.usecases.paging import PageRequest
from doubletext_server.usecases.values import Given, Unreadable, json_object
from doubletext_server.usecases.workers import Success
from doubletext_statemachine.errors import InvalidField, Refusal
from doubletext_statemachine.model import Output, RunChanged, StepCommitted, Tombstone
from doubletext_statemachine.words import Strategy
from tests.support.server import Service, gates, said

Dict: TypeAlias = dict[str, Any]
E = TypeVar("E", bound=Enum)


# The face


class DictFace:
    """`await face(METHOD, **arguments)` answers with a dict; of a refusal, it has the name and the facts."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, method: str, **arguments: Any) -> Dict:
        try:
            answer: Dict = await getattr(self, method)(arguments)
        except Refusal as refusal:
            return refused(refusal)
        return answer

    async def create_run(self, given: Dict) -> Dict:
        new = NewRun(
            given["thread_id"],
            given["assistant_id"],
            json_object(json.dumps(given.get("input", {})), "input"),
            strategy=word(Strategy, given.get("strategy")),
            request_id=given.get("request_id"),
            create_thread=given.get("create_thread"),
            delay_us=micros(given.get("delay")),
        )
        admission = await self.app.runs.create(new)
        superseded = [run(each) for each in admission.superseded]
        return {**run(admission.run), "repeated": admission.repeated, "superseded": superseded}

    async def get_run(self, given: Dict) -> Dict:
        return run(await self.app.runs.get(given["run_id"]))

    async def join_run(self, given: Dict) -> Dict:
        record, state = await self.app.runs.join(given["run_id"], wait_us=micros(given.get("wait")))
        return {**run(record), "values": json.loads(state.values)}

    async def list_states(self, given: Dict) -> Dict:
        page = PageRequest(given.get("page_size", 0), given.get("page_token", ""))
        listing = await self.app.threads.states(given["thread_id"], page)
        return {"steps": [state.step for state in listing.items], "next_page_token": listing.next_page_token}

    async def claim_run(self, given: Dict) -> Dict:
        assignment = await self.app.workers.claim(given["worker_id"], given["graphs"])
        return run(assignment.record) if assignment else {}

    async def commit_step(self, given: Dict) -> Dict:
        update = json_object(json.dumps(given["update"]), "update")
        stepped = await self.app.workers.commit_step(LeaseKey(given["run_id"], given["epoch"]), update)
        return {"step": stepped.step}

    async def finish_run(self, given: Dict) -> Dict:
        return run(await self.app.workers.finish(LeaseKey(given["run_id"], given["epoch"]), Success()))

    async def watch_run(self, run_id: str) -> AsyncIterator[Dict]:
        async with aclosing(await self.app.runs.watch(run_id)) as pages:
            async for page in pages:
                for each in page.converted(event):
                    yield each


def word(kind: type[E], text: str | None) -> Given[E | None]:
    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        return Unreadable(f"is {text!r}, which is none of {', '.join(member.value for member in kind)}")


def micros(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000_000)


def run(found: RunRecord | Tombstone) -> Dict:
    if isinstance(found, Tombstone):
        return {"run_id": found.run_id, "status": "deleted", "reason": found.reason.value}
    run = found.run
    assert run.status is not None
    shown = {"run_id": run.run_id, "status": run.status.value, "superseded_by": run.superseded_by}
    return {**shown, "input": None if found.input is None else json.loads(found.input)}


def event(thread_id: str, record: EventRecord) -> Dict:
    kind, data = record.event.kind, None if record.data is None else json.loads(record.data)
    if isinstance(kind, RunChanged):
        return {"thread_id": thread_id, "changed_to": kind.after.value}
    name = kind.channel if isinstance(kind, Output) else f"step {kind.step}" if isinstance(kind, StepCommitted) else "?"
    return {"thread_id": thread_id, name: data}


def refused(refusal: Refusal) -> Dict:
    if isinstance(refusal, InvalidField):
        return {"error": "InvalidField", "fields": dict(refusal.violations)}
    return {"error": type(refusal).__name__, **refusal.facts}


# What is played on it


@pytest.fixture
def face(service: Service) -> DictFace:
    return DictFace(service.app)


async def held(face: DictFace, thread_id: str) -> str:
    """A run that has made its first step, and then waits for the gate of its thread's name."""
    script = {**said("a"), "steps": 2, "after": {"1": thread_id}}
    created = await face("create_run", thread_id=thread_id, assistant_id="scripted", input=script, create_thread=True)
    async for each in face.watch_run(created["run_id"]):
        if "step 2" in each:
            return str(created["run_id"])
    raise AssertionError("the run ended")


def contents(answer: Dict) -> list[str]:
    return [message["content"] for message in answer["values"].get("messages", [])]


async def test_a_run_is_created_joined_and_read(face: DictFace) -> None:
    created = await face("create_run", thread_id="t", assistant_id="scripted", input=said("a"), create_thread=True)
    assert (created["status"], created["input"], created["superseded"]) == ("pending", said("a"), [])
    joined = await face("join_run", run_id=created["run_id"])
    assert (joined["status"], contents(joined)) == ("success", ["a", "a 1"])
    assert (await face("get_run", run_id=created["run_id"]))["status"] == "success"


async def test_a_second_text_is_rejected(face: DictFace) -> None:
    first = await held(face, "t")
    answer = await face("create_run", thread_id="t", assistant_id="scripted", input=said("b"), strategy="reject")
    assert (answer["error"], answer["active_run_id"]) == ("ThreadBusy", first)


async def test_a_second_text_interrupts(face: DictFace) -> None:
    first = await held(face, "t")
    second = await face("create_run", thread_id="t", assistant_id="scripted", input=said("b"), strategy="interrupt")
    assert [(each["run_id"], each["status"]) for each in second["superseded"]] == [(first, "interrupted")]
    ended = await face("join_run", run_id=first)
    assert (ended["status"], ended["superseded_by"]) == ("interrupted", second["run_id"])
    assert contents(await face("join_run", run_id=second["run_id"])) == ["a", "a 1", "b", "b 1"]


async def test_a_second_text_rolls_back(face: DictFace) -> None:
    first = await held(face, "t")
    second = await face("create_run", thread_id="t", assistant_id="scripted", input=said("b"), strategy="rollback")
    assert [(each["run_id"], each["status"]) for each in second["superseded"]] == [(first, "deleted")]
    gone = await face("get_run", run_id=first)
    assert (gone["error"], gone["cause"], gone["superseded_by"]) == ("RunRolledBack", "SUPERSEDED", second["run_id"])
    assert contents(await face("join_run", run_id=second["run_id"])) == ["b", "b 1"]


async def test_a_run_is_watched_to_its_end(face: DictFace) -> None:
    run_id = await held(face, "t")
    gates["t"].set()
    seen = [each async for each in face.watch_run(run_id)]
    changes = [each["changed_to"] for each in seen if "changed_to" in each]
    assert changes == ["pending", "running", "success"]
    steps = [name for each in seen for name in each if name.startswith("step")]
    assert steps == ["step 1", "step 2", "step 3"]
    assert {each["thread_id"] for each in seen} == {"t"}


async def test_all_that_is_wrong_with_a_call_is_said_at_once(face: DictFace) -> None:
    deep: Any = 1
    for _ in range(30):
        deep = [deep]
    answer = await face(
        "create_run",
        **{"thread_id": "a b", "assistant_id": "", "input": {"deep": deep}},
        **{"strategy": "shout", "request_id": "", "delay": -1},
    )
    assert answer["error"] == "InvalidField"
    assert answer["fields"]["multitask_strategy"].startswith("is 'shout', which is none of")
    assert answer["fields"]["input"].endswith("is nested deeper than 30 levels")
    assert set(answer["fields"]) == {"thread_id", "assistant_id", "input", "multitask_strategy", "request_id", "delay"}


async def test_a_repeated_call_is_answered_with_the_run_of_the_first(face: DictFace) -> None:
    call: Dict = {"thread_id": "t", "assistant_id": "scripted", "create_thread": True, "request_id": "once"}
    first, again = [await face("create_run", input=said("a"), **call) for _ in range(2)]
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert again["run_id"] == first["run_id"]
    assert (await face("create_run", input=said("b"), **call))["error"] == "RequestIdReused"


async def test_a_page_token_of_one_face_is_good_in_the_other(face: DictFace, service: Service) -> None:
    thread_id = await service.thread()
    for _ in range(3):
        await service.client.threads.update_state(thread_id, {})
    first = await face("list_states", thread_id=thread_id, page_size=2)
    assert first["steps"] == [3, 2]
    rest = await service.threads.ListStates(
        ListStatesRequest(thread_id=thread_id, page_size=2, page_token=first["next_page_token"])
    )
    assert ([state.step for state in rest.states], rest.next_page_token) == ([1], "")
    other = await face("list_states", thread_id=await service.thread(), page_token=first["next_page_token"])
    assert other["error"] == "InvalidPageToken"


async def test_a_worker_executes_a_run(face: DictFace, service: Service) -> None:
    await service.client.assistants.create("remote", assistant_id="remote")
    await face("create_run", thread_id="t", assistant_id="remote", input=said("a"), create_thread=True)
    claimed = await face("claim_run", worker_id="w", graphs=["remote"])
    assert (await face("commit_step", run_id=claimed["run_id"], epoch=1, update={"n": 1}))["step"] == 2
    assert (await face("finish_run", run_id=claimed["run_id"], epoch=1))["status"] == "success"
    lost = await face("commit_step", run_id=claimed["run_id"], epoch=1, update={"n": 2})
    assert (lost["error"], lost["cause"]) == ("LeaseLost", "SUCCESS")


IMPORTS = """
import pkgutil, sys
from importlib import import_module
from doubletext_server import engine, usecases
for package in (engine, usecases):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name != "doubletext_server.engine.executor":  # runs graphs, which the client's package knows
            import_module(module.name)
print(sorted(name for name in sys.modules if name.startswith(("grpc", "google", "doubletext.v1"))))
"""


async def test_neither_the_use_cases_nor_the_engine_import_a_face() -> None:
    ran = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", IMPORTS], check=True, stdout=subprocess.PIPE)
    assert ran.stdout.decode().strip() == "[]"
