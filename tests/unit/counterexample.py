"""A sequence of calls that breaks an invariant, told so that it can be followed: who calls what when, what the arbiter
answers, what is broken by that, and how the thread stands then."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Final, TypeAlias

from doubletext_statemachine import commands, errors
from doubletext_statemachine.arbiter import decide
from doubletext_statemachine.decisions import Decision
from doubletext_statemachine.model import Event, Run, RunChanged, StepCommitted
from tests.unit.play import START
from tests.unit.thread_rows import World

Call: TypeAlias = tuple[int, commands.Command]
"""When, and what."""

JUDGES: Final = ("tests.unit.invariants", "tests.unit.state_rules", "tests.unit.command_rules")


class Found(AssertionError):
    """The shortest sequence of calls that breaks an invariant. `rule`: the function that holds it, `broken` what it
    said; another exception than an assertion of the rules' is one of the arbiter's own."""

    def __init__(self, calls: Sequence[Call], now: int, broken: Exception) -> None:
        self.calls = calls
        self.rule, meaning = _rule(broken)
        told, before, after = _played(calls)
        shown = after or before
        lines = [
            f"{len(calls)} calls break an invariant:",
            *(f"  {line}" for line in told),
            f"broken at {now - START}: {self.rule}: {meaning}",
            *(f"  {line}" for line in (str(broken) or repr(broken)).splitlines()),
            "the thread then:" if after else "the thread before the last call:",
            *(f"  {line}" for line in _thread(shown)),
        ]
        super().__init__("\n".join(lines))


def _rule(broken: Exception) -> tuple[str, str]:
    """The innermost of the rules that were being held, and what it says."""
    trace, frames = broken.__traceback__, []
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    for frame in reversed(frames):
        if frame.f_globals.get("__name__") in JUDGES and (meaning := _meaning(frame)):
            return frame.f_code.co_name, " ".join(meaning.split())
    return "decide", f"raises {type(broken).__name__}, which is no Refusal"


def _meaning(frame: FrameType) -> str | None:
    return inspect.getdoc(frame.f_globals.get(frame.f_code.co_name))


def _played(calls: Sequence[Call]) -> tuple[list[str], World, World | None]:
    """The calls with their answers, and the thread before the last one and after it; None if that left none."""
    told: list[str] = []
    before, after = World(), World()
    for now, request in calls:
        before = after
        answer = "…"
        try:
            made = decide(before.view(request), request, now)
            answer = _answer(made)
            after = before.after(request, made, now)
        except errors.Refusal as refusal:
            answer = f"refused: {type(refusal).__name__}: {refusal}"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is told
            told.append(f"at {now - START}  {in_words(request)}  →  {error!r}")
            return told, before, None
        told.append(f"at {now - START}  {in_words(request)}  →  {answer}")
    return told, before, after


def in_words(request: commands.Command) -> str:
    who, what = _WORDS[type(request)]
    return f"{who(request) if callable(who) else who}: {what(request)}"


def _answer(made: Decision) -> str:
    if made.deletes_thread:
        return "the thread is gone"
    parts = [_event(event) for event in made.events]
    if made.cut_to is not None:
        parts.append(f"steps after {made.cut_to} cut off")
    stopping = made.thread.stopping if made.thread else None
    if stopping is not None:
        parts.append(f"{stopping.run_id} is awaited until {stopping.until - START}")
    if made.refusal is not None:
        parts.append(f"refused: {type(made.refusal).__name__}")
    return ", ".join(parts) or ("written" if made.writes else "nothing is written")


def _event(event: Event) -> str:
    if isinstance(event.kind, RunChanged):
        heir = f" by {event.kind.superseded_by}" if event.kind.superseded_by else ""
        why = f" ({event.kind.reason.value}{heir})" if event.kind.reason else ""
        return f"{event.run_id} {event.kind.after.value}{why}"
    if isinstance(event.kind, StepCommitted):
        return f"step {event.kind.step} of {event.run_id or 'UpdateState'}"
    return f"output of {event.run_id}"


def _thread(world: World) -> Iterator[str]:
    thread = world.thread
    if thread is None:
        yield "there is none"
        return
    yield f"steps of: {' '.join(run_id or 'UpdateState' for run_id in world.steps) or 'nobody'}"
    if thread.stopping is not None:
        stopping = thread.stopping
        ends = f"until {stopping.until - START}, or {stopping.grace_until - START} at most"
        yield f"awaited: {stopping.run_id} epoch {stopping.epoch} of {stopping.worker_id or 'the server'}, {ends}"
    yield from (_run(run) for run in world.runs.values())
    yield from (f"{grave.run_id} deleted ({grave.reason.value})" for grave in world.graves.values())


def _run(run: Run) -> str:
    assert run.status is not None
    parts = [f"{run.run_id} {run.status.value}", f"due {run.due_time - START}", f"epoch {run.epoch}"]
    parts.append(f"attempt {run.attempt} of {run.assistant.max_attempts}")
    if run.base_step is not None:
        parts.append(f"steps {run.base_step + 1} to {run.last_step}" if run.last_step else "no steps")
    for name, moment in (("lease", run.lease_expires), ("deadline", run.deadline), ("ended", run.end_time)):
        if moment is not None:
            parts.append(f"{name} {moment - START}")
    return ", ".join(parts)


def _admission(request: commands.AdmitRun) -> str:
    strategy = request.strategy.value if request.strategy else "default"
    delay = f" delayed by {request.delay}" if request.delay else ""
    return f"CreateRun {request.run_id} {strategy}{delay} of {request.assistant_id}, request_id {request.request_id}"


def _leased(request: commands.LeaseCommand) -> str:
    return "worker" if request.by_worker else "server"


def _step(request: commands.CommitStep) -> str:
    expected = "" if request.expected_step is None else f" expected {request.expected_step}"
    return f"CommitStep {_attempt(request)} {request.update}{expected}"


def _attempt(request: commands.LeaseCommand) -> str:
    return f"{request.run_id} epoch {request.epoch}"


def _claim(request: commands.ClaimRun) -> str:
    lease = "" if request.lease is None else f" with a lease of {request.lease}"
    return f"ClaimRun of {'/'.join(sorted(request.graphs))}{lease}"


Words: TypeAlias = tuple[str | Callable[[Any], str], Callable[[Any], str]]
_WORDS: Final[dict[type[commands.Command], Words]] = {
    commands.CreateThread: ("client", lambda request: "CreateThread"),
    commands.UpdateThread: ("client", lambda request: f"UpdateThread {request.changes}"),
    commands.DeleteThread: ("client", lambda request: "DeleteThread"),
    commands.UpdateState: ("client", lambda request: "UpdateState"),
    commands.AdmitRun: ("client", _admission),
    commands.CancelRun: ("client", lambda request: f"CancelRun {request.run_id} {request.action.value}"),
    commands.CancelRuns: ("client", lambda request: f"CancelRuns {request.action.value}"),
    commands.UpdateRun: ("client", lambda request: f"UpdateRun {request.run_id}"),
    commands.MoveRun: (
        "client",
        lambda request: f"MoveRun {request.run_id} {request.place.value} {request.other or ''}",
    ),
    commands.DeleteRun: ("client", lambda request: f"DeleteRun {request.run_id}"),
    commands.ClaimRun: (lambda request: "worker" if request.worker_id else "server", _claim),
    commands.CommitStep: (_leased, _step),
    commands.PublishOutput: (_leased, lambda request: f"PublishOutput {_attempt(request)}"),
    commands.Heartbeat: (_leased, lambda request: f"Heartbeat {_attempt(request)} for {request.lease}"),
    commands.SucceedRun: (
        _leased,
        lambda request: f"FinishRun {_attempt(request)} success {request.update or ''}".rstrip(),
    ),
    commands.FailRun: (_leased, lambda request: f"FinishRun {_attempt(request)} error"),
    commands.ReleaseRun: (_leased, lambda request: f"ReleaseRun {_attempt(request)}"),
    commands.AcknowledgeStop: (_leased, lambda request: f"the stop is acknowledged for {_attempt(request)}"),
    commands.Tick: ("timer", lambda request: "time is up"),
    commands.Recover: ("server", lambda request: "starts again, and all that it executed itself is gone"),
    commands.ExpireThread: ("retention", lambda request: f"the thread, if idle since {request.idle_since}"),
}
