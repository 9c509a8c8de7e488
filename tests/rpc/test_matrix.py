"""The matrix of the contract, strategy × what is in flight, spelled out by hand.

R runs and has made one step beside its input; P, P1, P2 are pending; D is delayed; N is the new run. Each case says
what CreateRun answers, what every run, the state and the thread are at once, which events it made, and how it ends.
"""

from typing import Any, NamedTuple

import pytest

from doubletext import ThreadBusy
from tests.support.server import Service, gates, told

pytestmark = pytest.mark.executors("server", "worker")


class Case(NamedTuple):
    """superseded: what the answer lists · statuses, thread, contents, events: right after the call, N held at its start
    finally_: contents once all that is due has run"""

    situation: str
    strategy: str
    superseded: list[str]
    statuses: dict[str, str]
    thread: str
    contents: list[str]
    events: list[str]
    finally_: list[str]


REFUSED = "refused"
BASE = ["old", "old 1"]
R = ["R", "R 1"]

# fmt: off
CASES = [
    # idle: an earlier, finished run is never undone
    Case("idle", "enqueue",   [], {"old": "success", "N": "running"}, "busy", [*BASE, "N"],
         ["N pending", "N running", "N step 3"], [*BASE, "N", "N 1"]),
    Case("idle", "reject",    [], {"old": "success", "N": "running"}, "busy", [*BASE, "N"],
         ["N pending", "N running", "N step 3"], [*BASE, "N", "N 1"]),
    Case("idle", "interrupt", [], {"old": "success", "N": "running"}, "busy", [*BASE, "N"],
         ["N pending", "N running", "N step 3"], [*BASE, "N", "N 1"]),
    Case("idle", "rollback",  [], {"old": "success", "N": "running"}, "busy", [*BASE, "N"],
         ["N pending", "N running", "N step 3"], [*BASE, "N", "N 1"]),

    # R running
    Case("running", "enqueue",   [], {"old": "success", "R": "running", "N": "pending"}, "busy", [*BASE, *R],
         ["N pending"], [*BASE, *R, "R 2", "N", "N 1"]),
    Case("running", "reject",    [REFUSED], {"old": "success", "R": "running"}, "busy", [*BASE, *R],
         [], [*BASE, *R, "R 2"]),
    Case("running", "interrupt", ["R"], {"old": "success", "R": "interrupted", "N": "running"},
         "busy", [*BASE, *R, "N"],
         ["N pending", "R interrupted", "N running", "N step 5"], [*BASE, *R, "N", "N 1"]),
    Case("running", "rollback",  ["R"], {"old": "success", "N": "running"}, "busy", [*BASE, "N"],
         ["N pending", "R deleted", "N running", "N step 3"], [*BASE, "N", "N 1"]),

    # only P pending: it waits for the code of a run that was cancelled and does not obey
    Case("pending", "enqueue",   [], {"old": "success", "P": "pending", "N": "pending"}, "busy", BASE,
         ["N pending"], [*BASE, "P", "P 1", "N", "N 1"]),
    Case("pending", "reject",    [REFUSED], {"old": "success", "P": "pending"}, "busy", BASE,
         [], [*BASE, "P", "P 1"]),
    Case("pending", "interrupt", ["P"], {"old": "success", "P": "interrupted", "N": "pending"}, "busy", BASE,
         ["N pending", "P interrupted"], [*BASE, "N", "N 1"]),
    Case("pending", "rollback",  ["P"], {"old": "success", "N": "pending"}, "busy", BASE,
         ["N pending", "P deleted"], [*BASE, "N", "N 1"]),

    # only D, delayed: it is in flight, yet holds nobody up
    Case("delayed", "enqueue",   [], {"old": "success", "D": "pending", "N": "running"}, "busy", [*BASE, "N"],
         ["N pending", "N running", "N step 3"], [*BASE, "N", "N 1"]),
    Case("delayed", "reject",    [REFUSED], {"old": "success", "D": "pending"}, "busy", BASE,
         [], BASE),
    Case("delayed", "interrupt", ["D"], {"old": "success", "D": "interrupted", "N": "running"}, "busy", [*BASE, "N"],
         ["N pending", "D interrupted", "N running", "N step 3"], [*BASE, "N", "N 1"]),
    Case("delayed", "rollback",  ["D"], {"old": "success", "N": "running"}, "busy", [*BASE, "N"],
         ["N pending", "D deleted", "N running", "N step 3"], [*BASE, "N", "N 1"]),

    # R running, P1 and P2 pending
    Case("queue", "enqueue",   [], {"old": "success", "R": "running", "P1": "pending", "P2": "pending", "N": "pending"},
         "busy", [*BASE, *R],
         ["N pending"], [*BASE, *R, "R 2", "P1", "P1 1", "P2", "P2 1", "N", "N 1"]),
    Case("queue", "reject",    [REFUSED], {"old": "success", "R": "running", "P1": "pending", "P2": "pending"},
         "busy", [*BASE, *R],
         [], [*BASE, *R, "R 2", "P1", "P1 1", "P2", "P2 1"]),
    Case("queue", "interrupt", ["R", "P1", "P2"],
         {"old": "success", "R": "interrupted", "P1": "interrupted", "P2": "interrupted", "N": "running"},
         "busy", [*BASE, *R, "N"],
         ["N pending", "R interrupted", "P1 interrupted", "P2 interrupted", "N running", "N step 5"],
         [*BASE, *R, "N", "N 1"]),
    Case("queue", "rollback",  ["R", "P1", "P2"], {"old": "success", "N": "running"}, "busy", [*BASE, "N"],
         ["N pending", "R deleted", "P1 deleted", "P2 deleted", "N running", "N step 3"], [*BASE, "N", "N 1"]),
]
# fmt: on


async def arrange(service: Service, thread_id: str, situation: str) -> dict[str, str]:
    """Bring the thread into the situation; the runs' ids by name."""
    old = await service.say(thread_id, "old")
    await service.client.runs.join(thread_id, old["run_id"])
    ids = {"old": old["run_id"]}

    async def queue(*names: str, **more: Any) -> None:
        for name in names:
            ids[name] = (await service.say(thread_id, name, "enqueue", **more))["run_id"]

    if situation in ("running", "queue"):
        run = await service.started(thread_id, "R", steps_made=1, steps=2, after={"1": "R goes on"})
        ids["R"] = run["run_id"]
    if situation == "queue":
        await queue("P1", "P2")
    if situation == "pending":
        stubborn = await service.started(thread_id, "gone", stubborn=True)
        await service.client.runs.cancel(thread_id, stubborn["run_id"], action="rollback")
        await queue("P")
    if situation == "delayed":
        await queue("D", delay=3600)
    return ids


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.strategy} on {case.situation}")
async def test_what_a_strategy_does_in_a_situation(service: Service, case: Case) -> None:
    thread_id = await service.thread()
    ids = await arrange(service, thread_id, case.situation)
    seen = len(await service.events(thread_id))
    at_work = case.statuses.get("N") == "running"

    if REFUSED in case.superseded:
        with pytest.raises(ThreadBusy) as refused:
            await service.say(thread_id, "N", case.strategy)
        in_the_way = {"running": "R", "queue": "R", "pending": "P", "delayed": "D"}[case.situation]
        assert refused.value.active_run_id == ids[in_the_way]
        assert refused.value.active_run_status == case.statuses[in_the_way]
        assert refused.value.in_flight_runs == {"running": 1, "pending": 1, "delayed": 1, "queue": 3}[case.situation]
    else:
        start = service.started if at_work else service.say
        new = await start(thread_id, "N", multitask_strategy=case.strategy, steps=1, after={"0": "N goes on"})
        ids["N"] = new["run_id"]
        assert [run["run_id"] for run in new["superseded"]] == [ids[name] for name in case.superseded]
        for run in new["superseded"]:
            assert (run["superseded_by"], run["reason"]) == (new["run_id"], "SUPERSEDED")
            assert run["status"] == ("interrupted" if case.strategy == "interrupt" else "deleted")
            assert run["input"] == {} if case.strategy == "rollback" else run["input"]["messages"]
        assert new["multitask_strategy"] == case.strategy

    names = {run_id: name for name, run_id in ids.items()}
    listed = service.client.runs.list(thread_id, oldest_first=True)
    assert {names[run["run_id"]]: run["status"] async for run in listed} == case.statuses
    assert await service.contents(thread_id) == case.contents
    thread = await service.client.threads.get(thread_id)
    assert thread["status"] == case.thread
    assert thread["active_run_id"] == next((ids[n] for n, status in case.statuses.items() if status == "running"), "")
    assert thread["queued_runs"] == list(case.statuses.values()).count("pending")
    events = await service.events(thread_id)
    assert [told(event, names) for event in events[seen:]] == case.events
    assert [event.event.sequence for event in events] == list(range(1, len(events) + 1))

    for gate in ("R goes on", "N goes on", "never gone"):
        gates[gate].set()
    for name, status in case.statuses.items():
        if status in ("pending", "running") and name != "D":
            joined = await service.client.runs.join(thread_id, ids[name])
            assert joined["run"]["status"] == "success"
    assert await service.contents(thread_id) == case.finally_
    last_word = "busy" if case.statuses.get("D") == "pending" else "idle"
    assert (await service.client.threads.get(thread_id))["status"] == last_word
