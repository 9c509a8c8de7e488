"""Every RPC: where it is called, what the file tells more once all of it has happened, and what a second call does."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from doubletext.structs import to_struct
from doubletext.v1 import assistant_service_pb2 as apb
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb
from doubletext.v1 import thread_service_pb2 as tpb
from doubletext.v1 import worker_service_pb2 as wpb
from tests.rpc.hangups.prepared_thread import Stage, busy, idle
from tests.support.clock import ManualClock
from tests.support.server import Service, said
from tests.support.worker import message


@dataclass(frozen=True)
class Row:
    """set_up   makes the stage
    request  what is asked there
    all      what the file tells more when the call has happened. Half of it must never be seen
    twice    what it tells more when the very same call was made once more; None: no more than after once
    again    the reason for which the second call is refused, None if it is not
    ends     it is answered sooner or later; else it waits until it is cancelled
    """

    set_up: Callable[[Service, ManualClock, int], Awaitable[Stage]]
    request: Callable[[Stage], Any]
    all: tuple[str, ...] = ()
    twice: tuple[str, ...] | None = None
    again: str | None = None
    ends: bool = True

    @property
    def writes(self) -> bool:
        return bool(self.all)


def outputs(text: str) -> list[pb.Output]:
    return [pb.Output(channel="tokens", data=message(text)) for _ in range(2)]


def new_run(stage: Stage) -> rpb.CreateRunRequest:
    return rpb.CreateRunRequest(
        thread_id=stage.thread_id,
        assistant_id=stage.graph,
        input=to_struct(said("new")),
        multitask_strategy=pb.MULTITASK_STRATEGY_ROLLBACK,
        request_id="once",
    )


ROLLBACK: Final = pb.CANCEL_ACTION_ROLLBACK

# fmt: off
ROWS: Final[dict[str, Row]] = {
    "CreateAssistant": Row(
        idle, lambda at: apb.CreateAssistantRequest(assistant_id=f"new{at.number}", graph="g"),
        ("there is a new assistant",), again="ASSISTANT_EXISTS"),
    "GetAssistant":    Row(idle, lambda at: apb.GetAssistantRequest(assistant_id=at.graph)),
    "ListAssistants":  Row(idle, lambda at: apb.ListAssistantsRequest(page_size=10)),
    "DeleteAssistant": Row(
        busy, lambda at: apb.DeleteAssistantRequest(assistant_id=at.graph),
        ("the assistant is gone",), again="ASSISTANT_NOT_FOUND"),
    "CreateThread":    Row(
        idle, lambda at: tpb.CreateThreadRequest(thread_id=f"new{at.number}", metadata=to_struct({"a": 1})),
        ("there is a new thread",), again="THREAD_EXISTS"),
    "GetThread":       Row(busy, lambda at: tpb.GetThreadRequest(thread_id=at.thread_id)),
    "ListThreads":     Row(busy, lambda at: tpb.ListThreadsRequest(page_size=10)),
    "UpdateThread":    Row(
        busy, lambda at: tpb.UpdateThreadRequest(thread_id=at.thread_id, metadata=to_struct({"a": 1})),
        ("the thread has other metadata",)),
    "DeleteThread":    Row(
        busy, lambda at: tpb.DeleteThreadRequest(thread_id=at.thread_id),
        ("the thread is gone",), again="THREAD_NOT_FOUND"),
    "GetState":        Row(busy, lambda at: tpb.GetStateRequest(thread_id=at.thread_id)),
    "ListStates":      Row(busy, lambda at: tpb.ListStatesRequest(thread_id=at.thread_id)),
    "UpdateState":     Row(
        idle, lambda at: tpb.UpdateStateRequest(thread_id=at.thread_id, values=to_struct({"a": 1})),
        ("by hand step 3",), twice=("by hand step 3", "by hand step 4")),
    "WatchThread":     Row(busy, lambda at: tpb.WatchThreadRequest(thread_id=at.thread_id), ends=False),
    "CreateRun":       Row(busy, new_run, ("new pending", "a deleted", "b deleted")),
    "GetRun":          Row(busy, lambda at: rpb.GetRunRequest(run_id=at.run_id("a"))),
    "ListRuns":        Row(busy, lambda at: rpb.ListRunsRequest(thread_id=at.thread_id)),
    "JoinRun":         Row(busy, lambda at: rpb.JoinRunRequest(run_id=at.run_id("a")), ends=False),
    "CancelRun":       Row(
        busy, lambda at: rpb.CancelRunRequest(run_id=at.run_id("a"), action=ROLLBACK), ("a deleted",)),
    "DeleteRun":       Row(
        idle, lambda at: rpb.DeleteRunRequest(run_id=at.run_id("a")), ("a is forgotten",), again="RUN_NOT_FOUND"),
    "CancelRuns":      Row(
        busy, lambda at: rpb.CancelRunsRequest(thread_id=at.thread_id, action=ROLLBACK), ("a deleted", "b deleted")),
    "UpdateRun":       Row(
        busy, lambda at: rpb.UpdateRunRequest(run_id=at.run_id("b"), expected_revision=0), ("b run_edited",),
        again="REVISION_CHANGED"),
    "MoveRun":         Row(
        busy, lambda at: rpb.MoveRunRequest(run_id=at.run_id("b"), last=True), ("b run_edited",),
        twice=("b run_edited",) * 2),
    "WatchRun":        Row(busy, lambda at: rpb.WatchRunRequest(run_id=at.run_id("a")), ends=False),
    # A claim is taken back when its caller hangs up, so that there is more to tell of it than all or nothing: see
    # test_claims. Here nothing can be claimed.
    "ClaimRun":        Row(busy, lambda at: wpb.ClaimRunRequest(worker_id="w", graphs=[at.graph])),
    "CommitStep":      Row(
        busy, lambda at: wpb.CommitStepRequest(lease=at.lease, update=message("more"), expected_step=3),
        ("a step 3",)),
    "PublishOutput":   Row(
        busy, lambda at: wpb.PublishOutputRequest(lease=at.lease, outputs=outputs("x")),
        ("a output",) * 2, twice=("a output",) * 4),
    "Heartbeat":       Row(busy, lambda at: wpb.HeartbeatRequest(lease=at.lease), ("a is renewed",)),
    "WatchLease":      Row(busy, lambda at: wpb.WatchLeaseRequest(lease=at.lease), ends=False),
    "FinishRun":       Row(
        busy, lambda at: wpb.FinishRunRequest(lease=at.lease, success=wpb.Success(update=message("last"))),
        ("a step 3", "a success")),
    "ReleaseRun":      Row(busy, lambda at: wpb.ReleaseRunRequest(lease=at.lease), ("a pending",)),
}
# fmt: on
