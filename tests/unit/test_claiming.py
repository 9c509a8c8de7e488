"""An attempt, over a lease in memory: what becomes of a graph, however it ends, and what is reported of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from doubletext.claiming import Attempt, Failed, Outcome, Over, Start, describe
from doubletext.graph import Context, Graph, Json
from doubletext.jsontext import Text, loads
from doubletext.outputs import Shown


class Refused(Exception):
    pass


class MemoryLease:
    """Keeps what is reported. `refuse` is asked before each report, and may raise."""

    refusals = (Refused,)

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.refuse: Callable[[Any], None] = lambda report: None

    async def _report(self, *report: Any) -> None:
        self.refuse(report)
        self.reports.append(report)

    async def start(self) -> Start:
        return Start({"run_id": "r"}, {"n": 1}, {"c": 2}, lambda: {"s": 3})

    async def commit(self, update: Text) -> None:
        await self._report("commit", loads(update))

    async def absorb(self) -> list[Json]:
        await self._report("absorb")
        return [{"said": 1}]

    async def emit(self, shown: Sequence[Shown]) -> None:
        for each in shown:
            await self._report("emit", each.channel, loads(each.data))

    async def finish(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failed):
            await self._report("failed", *outcome)
        else:
            await self._report("succeeded", outcome.update and loads(outcome.update))

    async def release(self) -> None:
        await self._report("release")


async def everything(ctx: Context) -> AsyncIterator[Any]:
    await ctx.emit("c", {"state": ctx.state, "input": ctx.input, "config": ctx.config, **ctx.run})
    yield {"a": 1}
    yield {}


async def returning(ctx: Context) -> Any:
    return {"last": True}


async def returning_nothing(ctx: Context) -> Any:
    return None


async def raising(ctx: Context) -> AsyncIterator[Any]:
    yield {"a": 1}
    raise ValueError("no\ud800 such")


async def exiting(ctx: Context) -> Any:
    raise SystemExit(3)


async def cancelling_itself(ctx: Context) -> AsyncIterator[Any]:
    yield {"a": 1}
    raise asyncio.CancelledError


async def yielding_a_list(ctx: Context) -> AsyncIterator[Any]:
    yield [1]


async def yielding_nan(ctx: Context) -> AsyncIterator[Any]:
    yield {"n": float("nan")}


async def emitting_a_set(ctx: Context) -> Any:
    await ctx.emit("c", {"s": {1}})


@pytest.mark.parametrize(
    ("graph", "reports"),
    [
        (
            everything,
            [
                ("emit", "c", {"state": {"s": 3}, "input": {"n": 1}, "config": {"c": 2}, "run_id": "r"}),
                ("commit", {"a": 1}),
                ("commit", {}),
                ("succeeded", None),
            ],
        ),
        (returning, [("succeeded", {"last": True})]),
        (returning_nothing, [("succeeded", None)]),
        (raising, [("commit", {"a": 1}), ("failed", "ValueError", "no? such")]),
        (exiting, [("failed", "SystemExit", "3")]),
        (cancelling_itself, [("commit", {"a": 1}), ("failed", "CancelledError", "the graph cancelled itself")]),
        (yielding_a_list, [("failed", "TypeError", "a graph's update must be a dict, not list")]),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_what_a_graph_does_is_reported_in_order_and_its_end_once(graph: Any, reports: list[Any]) -> None:
    lease = MemoryLease()
    await Attempt(Graph(graph, "g"), lease, {}).run()
    assert lease.reports == reports


@pytest.mark.parametrize(("graph", "kind"), [(yielding_nan, "ValueError"), (emitting_a_set, "TypeError")])
async def test_what_cannot_be_sent_fails_the_run_before_it_is_reported(graph: Any, kind: str) -> None:
    lease = MemoryLease()
    await Attempt(Graph(graph, "g"), lease, {}).run()
    assert [report[:2] for report in lease.reports] == [("failed", kind)]


class Held:
    """A graph that says that it has begun, and goes on when it is let. A stubborn one catches its cancellation."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.stubborn = stubborn

    async def __call__(self, ctx: Context) -> Any:
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            if not self.stubborn:
                raise
            await self.go_on.wait()
        return {"late": True}

    def attempt(self, lease: MemoryLease) -> Attempt:
        async def held(ctx: Context) -> Any:
            return await self(ctx)

        return Attempt(Graph(held, "held"), lease, {})


async def test_a_stop_cancels_the_graph_and_is_acknowledged_once_its_code_is_over() -> None:
    lease, held = MemoryLease(), Held(stubborn=True)
    attempt = held.attempt(lease)
    running = asyncio.create_task(attempt.run())
    await held.begun.wait()
    attempt.stop()
    await asyncio.wait([running], timeout=0)
    assert (lease.reports, attempt.executed) == ([], False)
    held.go_on.set()
    await running
    assert (lease.reports, attempt.executed) == ([("release",)], True)


async def test_of_a_run_that_was_handed_back_nothing_more_is_reported() -> None:
    lease, held = MemoryLease(), Held()
    attempt = held.attempt(lease)
    running = asyncio.create_task(attempt.run())
    await held.begun.wait()
    attempt.abandon()
    await running
    assert lease.reports == []


@pytest.mark.parametrize("end", [Attempt.stop, Attempt.abandon])
async def test_an_attempt_that_is_over_before_it_began_executes_nothing(end: Callable[[Attempt], None]) -> None:
    lease, held = MemoryLease(), Held()
    attempt = held.attempt(lease)
    end(attempt)
    await attempt.run()
    assert lease.reports == ([("release",)] if end is Attempt.stop else [])
    assert not held.begun.is_set()


async def test_a_step_that_comes_too_late_ends_the_attempt_and_is_acknowledged() -> None:
    lease = MemoryLease()

    def over(report: Any) -> None:
        if report[0] == "commit":
            raise Over

    lease.refuse = over
    await Attempt(Graph(everything, "g"), lease, {}).run()
    assert [report[0] for report in lease.reports] == ["emit", "release"]


async def test_an_outcome_that_comes_too_late_is_followed_by_an_acknowledgement() -> None:
    lease = MemoryLease()

    def over(report: Any) -> None:
        if report[0] == "succeeded":
            raise Over

    lease.refuse = over
    await Attempt(Graph(returning, "g"), lease, {}).run()
    assert lease.reports == [("release",)]


async def test_a_returned_update_that_is_refused_fails_the_run() -> None:
    lease = MemoryLease()

    def refuse(report: Any) -> None:
        if report[0] == "succeeded":
            raise Refused("too large")

    lease.refuse = refuse
    await Attempt(Graph(returning, "g"), lease, {}).run()
    assert lease.reports == [("failed", "Refused", "too large")]


async def test_a_failure_is_logged_with_its_traceback_and_that_of_a_stopped_graph_in_one_line() -> None:
    lease, held = MemoryLease(), Held(stubborn=True)
    with capture_logs() as logs:
        await Attempt(Graph(exiting, "g"), MemoryLease(), {"run_id": "r"}).run()
    assert [(each["event"], each["run_id"], each["exc_info"]) for each in logs] == [("a graph failed", "r", True)]

    async def failing_late(ctx: Context) -> Any:
        await held(ctx)
        raise ValueError("late")

    attempt = Attempt(Graph(failing_late, "g"), lease, {})
    running = asyncio.create_task(attempt.run())
    await held.begun.wait()
    attempt.stop()
    held.go_on.set()
    with capture_logs() as logs:
        await running
    assert [each["event"] for each in logs] == ["a stopped graph failed"]
    assert lease.reports == [("release",)]


def test_an_error_whose_message_cannot_be_shown_is_described_all_the_same() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe(Silent()) == ("Silent", "its message cannot be shown")
    assert describe(ValueError("x" * 20_000)) == ("ValueError", "x" * 10_000)
