"""Queue policies: what becomes of the runs that wait, for each strategy that may have one, spelled out by hand.

R runs and has made one step beside its input, or was handed back after it; P is pending, of the same assistant as the
new run N; O is pending, of another one; D is delayed. Each case says what every run is at once, and what the thread's
messages are once all that is due has run.
"""

from typing import Any, Final, NamedTuple

import pytest

from doubletext import InvalidField, QueueFull, RunInFlight, RunRolledBack
from doubletext_server.store.protocol import RunRecord
from doubletext_statemachine.commands import Tick
from doubletext_statemachine.model import RunChanged
from doubletext_statemachine.words import RunStatus
from tests.support.clock import SECOND, ManualClock
from tests.support.server import Service, gates, serving
from tests.support.worker import claimed


class Case(NamedTuple):
    situation: str
    strategy: str
    policy: str
    statuses: str
    contents: str


# fmt: off
CASES: Final = [
    # Nothing waits: the policy makes no difference
    *[Case("idle", strategy, policy, "", "N N1")
      for strategy in ("enqueue", "interrupt", "rollback") for policy in ("keep", "supersede", "merge")],
    *[Case("running", "enqueue", policy, "R running", "R R1 R2 N N1") for policy in ("keep", "supersede", "merge")],
    *[Case("running", "interrupt", policy, "R interrupted", "R R1 N N1") for policy in ("keep", "supersede", "merge")],
    *[Case("running", "rollback", policy, "R deleted", "N N1") for policy in ("keep", "supersede", "merge")],
    # What was handed back has started, so that it is the strategy's alone
    *[Case("handed back", "enqueue", policy, "R pending", "R R1 N N1") for policy in ("keep", "supersede", "merge")],
    *[Case("handed back", "interrupt", policy, "R interrupted", "R N N1")
      for policy in ("keep", "supersede", "merge")],
    *[Case("handed back", "rollback", policy, "R deleted", "N N1") for policy in ("keep", "supersede", "merge")],

    Case("pending", "enqueue",   "keep",      "P pending",     "P P1 N N1"),
    Case("pending", "enqueue",   "supersede", "P interrupted", "N N1"),
    Case("pending", "enqueue",   "merge",     "P merged",      "P N N1"),
    Case("pending", "interrupt", "keep",      "P pending",     "N N1 P P1"),
    Case("pending", "interrupt", "supersede", "P interrupted", "N N1"),
    Case("pending", "interrupt", "merge",     "P merged",      "P N N1"),
    Case("pending", "rollback",  "keep",      "P pending",     "N N1 P P1"),
    Case("pending", "rollback",  "supersede", "P deleted",     "N N1"),
    Case("pending", "rollback",  "merge",     "P merged",      "P N N1"),

    # A run whose delay has not passed is not merged
    Case("delayed", "enqueue",   "keep",      "D pending",     "N N1"),
    Case("delayed", "enqueue",   "supersede", "D interrupted", "N N1"),
    Case("delayed", "enqueue",   "merge",     "D pending",     "N N1"),
    Case("delayed", "interrupt", "keep",      "D pending",     "N N1"),
    Case("delayed", "interrupt", "supersede", "D interrupted", "N N1"),
    Case("delayed", "interrupt", "merge",     "D pending",     "N N1"),
    Case("delayed", "rollback",  "keep",      "D pending",     "N N1"),
    Case("delayed", "rollback",  "supersede", "D deleted",     "N N1"),
    Case("delayed", "rollback",  "merge",     "D pending",     "N N1"),

    Case("queue", "enqueue",   "keep",      "R running, P pending, O pending",             "R R1 R2 P P1 O O1 N N1"),
    Case("queue", "enqueue",   "supersede", "R running, P interrupted, O interrupted",     "R R1 R2 N N1"),
    Case("queue", "enqueue",   "merge",     "R running, P merged, O pending",              "R R1 R2 O O1 P N N1"),
    Case("queue", "interrupt", "keep",      "R interrupted, P pending, O pending",         "R R1 N N1 P P1 O O1"),
    Case("queue", "interrupt", "supersede", "R interrupted, P interrupted, O interrupted", "R R1 N N1"),
    Case("queue", "interrupt", "merge",     "R interrupted, P merged, O pending",          "R R1 P N N1 O O1"),
    Case("queue", "rollback",  "keep",      "R deleted, P pending, O pending",             "N N1 P P1 O O1"),
    Case("queue", "rollback",  "supersede", "R deleted, P deleted, O deleted",             "N N1"),
    Case("queue", "rollback",  "merge",     "R deleted, P merged, O pending",              "P N N1 O O1"),
]
# fmt: on


async def arrange(service: Service, thread_id: str, situation: str) -> dict[str, str]:
    """Bring the thread into the situation; the runs' ids by name."""
    ids: dict[str, str] = {}
    if situation in ("running", "queue"):
        run = await service.started(thread_id, "R", steps_made=1, steps=2, after={"1": "R goes on"})
        ids["R"] = run["run_id"]
    if situation == "handed back":
        await service.client.assistants.create("hand", assistant_id="hand")
        run = await service.client.runs.create(thread_id, "hand", input={"messages": [{"content": "R"}]})
        ids["R"] = run["run_id"]
        await (await claimed(service, "hand")).release()
    if situation == "pending":
        stubborn = await service.started(thread_id, "gone", stubborn=True)
        await service.client.runs.cancel(thread_id, stubborn["run_id"], action="rollback")
    if situation in ("pending", "queue"):
        ids["P"] = (await service.say(thread_id, "P"))["run_id"]
    if situation == "queue":
        await service.client.assistants.create("scripted", assistant_id="other")
        ids["O"] = (await service.say(thread_id, "O", assistant="other"))["run_id"]
    if situation == "delayed":
        ids["D"] = (await service.say(thread_id, "D", delay=3600))["run_id"]
    return ids


async def status_of(service: Service, run_id: str) -> str:
    try:
        return (await service.client.runs.get(None, run_id))["status"]
    except RunRolledBack:
        return "deleted"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.strategy} and {case.policy} on {case.situation}")
async def test_what_becomes_of_those_that_wait(service: Service, case: Case) -> None:
    thread_id = await service.thread()
    ids = await arrange(service, thread_id, case.situation)
    new = await service.say(thread_id, "N", case.strategy, queue_policy=case.policy, after={"0": "N goes on"})
    assert (new["multitask_strategy"], new["queue_policy"]) == (case.strategy, case.policy)
    statuses = {name: await status_of(service, run_id) for name, run_id in ids.items()}
    assert statuses == dict(each.split() for each in case.statuses.split(", ") if each)
    merged = [ids[name] for name, status in statuses.items() if status == "merged"]
    assert new["merged"] == merged
    ended = [ids[name] for name, status in statuses.items() if status in ("interrupted", "deleted")]
    assert [run["run_id"] for run in new["superseded"]] == ended
    for run_id in merged:
        assert (await service.client.runs.get(thread_id, run_id))["merged_into"] == new["run_id"]

    for name in ("R goes on", "N goes on", "never gone"):
        gates[name].set()
    if statuses.get("R") == "pending":
        held = await claimed(service, "hand")
        await held.succeed("R1")
    await service.client.runs.join(None, new["run_id"])
    for name in ("P", "O"):
        if statuses.get(name) == "pending":
            await service.client.runs.join(None, ids[name])
    contents = [text.replace(" ", "") for text in await service.contents(thread_id)]
    assert contents == case.contents.split()


@pytest.mark.parametrize("strategy", ["reject", "join"])
async def test_a_strategy_without_a_queue_policy_takes_none(service: Service, strategy: str) -> None:
    thread_id = await service.thread()
    await service.client.threads.update(thread_id, default_queue_policy="merge")
    assert (await service.say(thread_id, "a", strategy))["queue_policy"] == "unspecified"
    with pytest.raises(InvalidField, match="queue_policy"):
        await service.say(thread_id, "b", strategy, queue_policy="keep")


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"debounce": 1}, "debounce"),
        ({"debounce": 1, "queue_policy": "keep"}, "debounce"),
        ({"debounce": 1, "queue_policy": "merge", "delay": 1}, "debounce"),
        ({"debounce": 0, "queue_policy": "merge"}, "debounce"),
        ({"max_wait": 1, "queue_policy": "merge"}, "max_wait"),
        ({"start_within": 0}, "start_within"),
    ],
)
async def test_words_that_have_no_meaning_together_are_refused_by_name(
    service: Service, words: dict[str, Any], field: str
) -> None:
    thread_id = await service.thread()
    with pytest.raises(InvalidField) as refused:
        await service.say(thread_id, "a", **words)
    assert [name for name, _ in refused.value.violations] == [field]
    assert await service.statuses(thread_id) == []


async def test_a_thread_has_a_default_that_holds_where_the_strategy_may_have_it(service: Service) -> None:
    thread = await service.client.threads.create(default_queue_policy="merge")
    thread_id = thread["thread_id"]
    assert thread["default_queue_policy"] == "merge"
    await service.started(thread_id, "R", after={"0": "go"})
    first = await service.say(thread_id, "a")
    second = await service.say(thread_id, "b")
    assert (second["queue_policy"], second["merged"]) == ("merge", [first["run_id"]])
    updated = await service.client.threads.update(thread_id, default_queue_policy="unspecified")
    assert updated["default_queue_policy"] == "unspecified"
    assert (await service.say(thread_id, "c"))["queue_policy"] == "keep"


async def test_what_was_merged_by_way_of_others_is_told_flat_and_in_order(service: Service) -> None:
    thread_id = await service.thread()
    await service.started(thread_id, "R", after={"0": "go"})
    runs = [await service.say(thread_id, text, queue_policy="merge") for text in "abcd"]
    *taken, last = [run["run_id"] for run in runs]
    assert runs[-1]["merged"] == taken
    for run_id in taken:
        run = await service.client.runs.get(thread_id, run_id)
        assert (run["status"], run["merged_into"], run["queue_position"]) == ("merged", last, 0)
    assert (await service.client.runs.get(thread_id, last))["merged"] == taken
    listed = {run["run_id"]: run async for run in service.client.runs.list(thread_id)}
    assert (listed[last]["merged"], listed[taken[0]]["merged_into"]) == (taken, last)
    with pytest.raises(RunInFlight):
        await service.client.runs.delete(thread_id, taken[1])
    gates["go"].set()
    assert (await service.client.runs.join(thread_id, last))["run"]["status"] == "success"
    assert (await service.contents(thread_id))[2:] == ["a", "b", "c", "d", "d 1"]
    states = [state async for state in service.client.threads.list_states(thread_id)]
    by_input = {state["input_of"]: state["run_id"] for state in states if state["input_of"]}
    assert {by_input[run_id] for run_id in (*taken, last)} == {last}
    await service.client.runs.delete(thread_id, taken[1])
    remaining = (await service.client.runs.get(thread_id, last))["merged"]
    assert remaining == [taken[0], taken[2]]


async def test_what_was_merged_goes_with_the_run_that_took_it_when_that_is_rolled_back(service: Service) -> None:
    thread_id = await service.thread()
    await service.started(thread_id, "R", after={"0": "go"})
    first = await service.say(thread_id, "a")
    taker = await service.say(thread_id, "b", "interrupt", queue_policy="merge", steps=1, after={"0": "never"})
    await service.client.runs.join(None, taker["run_id"], wait=0.05)
    last = await service.say(thread_id, "c", "rollback")
    with pytest.raises(RunRolledBack) as gone:
        await service.client.runs.get(thread_id, first["run_id"])
    assert gone.value.superseded_by == last["run_id"]
    joined = await service.client.runs.join(thread_id, first["run_id"], follow=True)
    assert (joined["run"]["run_id"], joined["run"]["status"]) == (last["run_id"], "success")
    assert "a" not in await service.contents(thread_id)
    kinds = [record.event.kind for record in await service.events(thread_id) if record.event.run_id == first["run_id"]]
    changes = [(kind.before, kind.after, kind.merged_into) for kind in kinds if isinstance(kind, RunChanged)]
    assert changes == [
        (None, RunStatus.PENDING, None),
        (RunStatus.PENDING, RunStatus.MERGED, taker["run_id"]),
        (RunStatus.MERGED, RunStatus.DELETED, None),
    ]


async def test_a_debounced_run_starts_once_no_message_has_come_for_so_long(tmp_path: Any) -> None:
    clock = ManualClock()
    async with serving(tmp_path / "test.db", clock=clock) as service:
        thread_id = await service.thread()
        words: dict[str, Any] = {"queue_policy": "merge", "debounce": 10, "max_wait": 25}
        start = clock.now
        dues = []
        for text in "abcd":
            run = await service.say(thread_id, text, **words)
            record = await service.sqlite.run(run["run_id"])
            assert isinstance(record, RunRecord)
            dues.append((record.run.due_time - start) / SECOND)
            clock.now += 8 * SECOND
        # Each message waits anew, but the first one no longer than 25 s in all.
        assert dues == [10, 18, 25, 25]


async def test_the_oldest_message_of_a_line_of_merged_ones_is_counted_from(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.say(thread_id, "a", queue_policy="merge", debounce=3600)
    second = await service.say(thread_id, "b", queue_policy="merge", debounce=3600, max_wait=0.2)
    assert second["merged"] == [first["run_id"]]
    joined = await service.client.runs.join(thread_id, second["run_id"])
    assert joined["run"]["status"] == "success"
    assert await service.contents(thread_id) == ["a", "b", "b 1"]


async def test_a_run_that_does_not_start_in_time_expires(service: Service) -> None:
    thread_id = await service.thread()
    await service.started(thread_id, "R", after={"0": "go"})
    late = await service.say(thread_id, "a", start_within=0.1)
    assert late["expire_time"] is not None
    joined = await service.client.runs.join(thread_id, late["run_id"])
    assert (joined["run"]["status"], joined["run"]["reason"], joined["run"]["attempt"]) == ("timeout", "EXPIRED", 0)
    gates["go"].set()
    in_time = await service.say(thread_id, "b", start_within=60)
    assert (await service.client.runs.join(thread_id, in_time["run_id"]))["run"]["status"] == "success"
    assert "a" not in await service.contents(thread_id)


async def test_behind_many_that_expire_at_once_the_next_one_starts(tmp_path: Any) -> None:
    clock = ManualClock()
    async with serving(tmp_path / "test.db", clock=clock) as service:
        thread_id = await service.thread()
        await service.client.assistants.create("nobodys", assistant_id="nobodys")
        late = [await service.client.runs.create(thread_id, "nobodys", start_within=1) for _ in range(4)]
        last = await service.say(thread_id, "b")
        clock.now += SECOND
        await service.app.changes.change(Tick(thread_id))
        joined = await service.client.runs.join(None, last["run_id"], wait=5)
        assert joined["run"]["status"] == "success"
        assert {(await service.client.runs.get(None, run["run_id"]))["reason"] for run in late} == {"EXPIRED"}


async def test_what_a_run_far_behind_has_taken_is_rolled_back_with_it(service: Service) -> None:
    thread_id = await service.thread()
    await service.started(thread_id, "R", after={"0": "go"})
    await service.client.assistants.create("scripted", assistant_id="other")
    for text in "abcd":
        await service.say(thread_id, text, assistant="other")
    taken = await service.say(thread_id, "e")
    taker = await service.say(thread_id, "f", queue_policy="merge")
    await service.client.runs.cancel(None, taker["run_id"], action="rollback")
    with pytest.raises(RunRolledBack):
        await service.client.runs.get(None, taken["run_id"])


async def test_inputs_that_wait_count_whichever_run_they_are_part_of(service: Service) -> None:
    thread_id = (await service.client.threads.create(max_queued_runs=3))["thread_id"]
    await service.started(thread_id, "R", after={"0": "go"})
    for text in "abc":
        await service.say(thread_id, text, queue_policy="merge")
    with pytest.raises(QueueFull):
        await service.say(thread_id, "d", queue_policy="merge")
    with pytest.raises(QueueFull):
        await service.say(thread_id, "d", "interrupt", queue_policy="keep")
    assert (await service.statuses(thread_id)).count("merged") == 2
    await service.say(thread_id, "d", "interrupt")


async def test_join_answers_the_newest_run_in_flight_and_makes_none(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.say(thread_id, "R", "join", after={"0": "go"})
    assert first["joined"] is False
    waiting = await service.say(thread_id, "P")
    joined = await service.say(thread_id, "dropped", "join", request_id="q")
    assert (joined["run_id"], joined["joined"], joined["superseded"]) == (waiting["run_id"], True, [])
    again = await service.say(thread_id, "dropped", "join", request_id="q")
    assert (again["run_id"], again["joined"]) == (waiting["run_id"], True)
    assert await service.statuses(thread_id) == ["running", "pending"]
    gates["go"].set()
    await service.client.runs.join(thread_id, waiting["run_id"])
    assert "dropped" not in await service.contents(thread_id)
    later = await service.say(thread_id, "dropped", "join", request_id="q")
    assert (later["run_id"], later["joined"], later["status"]) == (waiting["run_id"], True, "success")


async def test_a_join_follows_to_the_run_that_answers_in_the_end(service: Service) -> None:
    thread_id = await service.thread()
    first = await service.started(thread_id, "a", after={"0": "never"})
    second = await service.say(thread_id, "b", "interrupt", after={"0": "never"})
    third = await service.say(thread_id, "c", "enqueue")
    fourth = await service.say(thread_id, "d", "rollback", queue_policy="merge", after={"0": "go"})
    assert fourth["merged"] == [third["run_id"]]
    for run_id in (first["run_id"], third["run_id"]):
        follows = await service.client.runs.join(None, run_id, follow=True, wait=0.05)
        assert follows["run"]["run_id"] == fourth["run_id"]
    at_once = await service.client.runs.join(None, third["run_id"])
    assert at_once["run"]["status"] == "merged"
    with pytest.raises(RunRolledBack):
        await service.client.runs.join(None, second["run_id"])
    gates["go"].set()
    for run_id in (first["run_id"], second["run_id"], third["run_id"]):
        joined = await service.client.runs.join(None, run_id, follow=True)
        assert (joined["run"]["run_id"], joined["run"]["status"]) == (fourth["run_id"], "success")
        assert [message["content"] for message in joined["state"]["values"]["messages"]][-3:] == ["c", "d", "d 1"]
