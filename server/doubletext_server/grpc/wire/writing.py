"""Turn the values of the domain into answers.

The most frequent answers are written in place, inside their response. A message that is passed to the constructor of
another message is copied.

`put` says how users' objects are put into an answer: see wire.objects.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as run_pb
from doubletext.v1 import thread_service_pb2 as thread_pb
from doubletext.v1 import worker_service_pb2 as worker_pb
from doubletext_server.clock import SECOND_US
from doubletext_server.grpc.wire.enums import ON_FAILURE, QUEUE_POLICY, REDUCER, RUN_STATUS, STRATEGY, THREAD_STATUS
from doubletext_server.grpc.wire.objects import Put, as_struct_or_text, as_text
from doubletext_server.store.protocol import EventRecord, RunRecord, State, Steer, ThreadRecord
from doubletext_server.usecases.admission import Admission
from doubletext_server.usecases.leases import LeaseKey, Renewal, Stop
from doubletext_server.usecases.workers import Assignment, Stepped
from doubletext_statemachine.model import Assistant, RunChanged, RunEdited, StepCommitted, ThreadChanged, Tombstone

T = TypeVar("T")


def thread(record: ThreadRecord, put: Put) -> pb.Thread:
    thread, strategy = record.thread, record.thread.default_strategy
    message = pb.Thread(
        thread_id=thread.thread_id,
        status=THREAD_STATUS[record.status],
        default_strategy=STRATEGY[strategy] if strategy else pb.MULTITASK_STRATEGY_UNSPECIFIED,
        max_queued_runs=thread.max_queued_runs or 0,
        active_run_id=record.active_run_id or "",
        queued_runs=record.queued_runs,
    )
    if thread.default_queue_policy is not None:
        message.default_queue_policy = QUEUE_POLICY[thread.default_queue_policy]
    message.held = thread.held
    if thread.on_failure is not None:
        message.on_failure = ON_FAILURE[thread.on_failure]
    put(message, "metadata", thread.metadata)
    _set_time(message.create_time, thread.create_time)
    _set_time(message.update_time, thread.update_time)
    return message


def run(found: RunRecord | Tombstone, put: Put) -> pb.Run:
    """Return a run, or what is left of a run that was rolled back."""
    if isinstance(found, Tombstone):
        return _deleted_run(found)
    message = pb.Run()
    _write_run(message, found, put)
    return message


def _write_run(message: pb.Run, record: RunRecord, put: Put) -> None:
    _write_run_without_objects(message, record)
    if record.input is not None:
        put(message, "input", record.input)
    if record.metadata is not None:
        put(message, "metadata", record.metadata)


def _write_run_without_objects(message: pb.Run, record: RunRecord) -> None:
    run = record.run
    assert run.status is not None
    message.run_id = run.run_id
    message.thread_id = run.thread_id
    message.assistant_id = run.assistant.assistant_id
    message.status = RUN_STATUS[run.status]
    message.multitask_strategy = STRATEGY[run.strategy]
    message.sequence = run.sequence
    message.queue_position = record.queue_position
    message.unserved = record.unserved
    message.attempt = run.attempt
    message.superseded_by = run.superseded_by or ""
    message.reason = run.reason.value if run.reason else ""
    message.last_step = run.last_step
    message.revision = run.revision
    _set_time(message.create_time, run.create_time)
    _set_time(message.due_time, run.due_time)
    _set_time(message.start_time, run.start_time)
    _set_time(message.end_time, run.end_time)
    if run.timeout is not None:
        _set_duration(message.timeout, run.timeout)
    if run.queue_policy is not None:
        message.queue_policy = QUEUE_POLICY[run.queue_policy]
    if record.merged:
        message.merged.extend(record.merged)
    if run.merged_into is not None:
        message.merged_into = run.merged_into
    _set_time(message.expire_time, run.expire_time)
    if run.error_type is not None:
        message.error.type = run.error_type
        message.error.message = run.error_message or ""


def _deleted_run(tombstone: Tombstone) -> pb.Run:
    message = pb.Run(
        run_id=tombstone.run_id,
        thread_id=tombstone.thread_id,
        status=pb.RUN_STATUS_DELETED,
        superseded_by=tombstone.superseded_by or "",
        reason=tombstone.reason.value,
        merged_into=tombstone.merged_into or "",
    )
    _set_time(message.create_time, tombstone.create_time)
    _set_time(message.end_time, tombstone.delete_time)
    return message


def created_run(request: run_pb.CreateRunRequest, admission: Admission, put: Put) -> run_pb.CreateRunResponse:
    """Return the answer about a new run. Structs are copied from the request, which is faster than parsing them."""
    superseded = [run(each, put) for each in admission.superseded]
    response = run_pb.CreateRunResponse(superseded=superseded, joined=admission.joined)
    if admission.repeated or admission.joined or isinstance(admission.run, Tombstone):
        response.run.CopyFrom(run(admission.run, put))
        return response
    if put is as_text:
        _write_run(response.run, admission.run, put)
        return response
    _write_run_without_objects(response.run, admission.run)
    _copy_object(response.run.input, request.input)
    _copy_object(response.run.metadata, request.metadata)
    return response


def found_run(record: RunRecord, put: Put) -> run_pb.GetRunResponse:
    response = run_pb.GetRunResponse()
    _write_run(response.run, record, put)
    return response


def joined_run(record: RunRecord, state: State, put: Put) -> run_pb.JoinRunResponse:
    response = run_pb.JoinRunResponse()
    _write_run(response.run, record, put)
    _write_state(response.state, state, put)
    return response


def state(state: State, put: Put) -> pb.State:
    message = pb.State()
    _write_state(message, state, put)
    return message


def _write_state(message: pb.State, state: State, put: Put) -> None:
    message.thread_id = state.thread_id
    message.step = state.step
    message.run_id = state.run_id or ""
    message.input_of = state.input_of or ""
    put(message, "values", state.values)
    _set_time(message.create_time, state.create_time)


def assignment(assignment: Assignment, put: Put) -> worker_pb.Assignment:
    run_ = assignment.record.run
    return worker_pb.Assignment(
        lease=_lease(LeaseKey(run_.run_id, run_.epoch), run_.lease_expires),
        run=run(assignment.record, put),
        assistant=assistant(run_.assistant, put),
        state=state(assignment.state, put),
    )


def renewal(renewal: Renewal, put: Put) -> worker_pb.HeartbeatResponse:
    return worker_pb.HeartbeatResponse(
        lease=_lease(renewal.key, renewal.expire_time),
        stop=stop(renewal.stop) if renewal.stop else None,
        steers=[steer(each, put) for each in renewal.steers],
    )


def stepped(stepped: Stepped, put: Put) -> worker_pb.CommitStepResponse:
    absorbed = [steer(each, put) for each in stepped.absorbed]
    return worker_pb.CommitStepResponse(
        step=stepped.step, absorbed=absorbed, steers=[steer(each, put) for each in stepped.steers]
    )


def told(told: Stop | Steer, put: Put) -> worker_pb.WatchLeaseResponse:
    if isinstance(told, Stop):
        return worker_pb.WatchLeaseResponse(stop=stop(told))
    return worker_pb.WatchLeaseResponse(steer=steer(told, put))


def steer(steer: Steer, put: Put) -> worker_pb.Steer:
    message = worker_pb.Steer(run_id=steer.run_id, sequence=steer.sequence, revision=steer.revision)
    put(message, "input", steer.input)
    return message


def _lease(key: LeaseKey, expire_time: int | None) -> worker_pb.Lease:
    message = worker_pb.Lease(run_id=key.run_id, epoch=key.epoch)
    _set_time(message.expire_time, expire_time)
    return message


def stop(stop: Stop) -> worker_pb.Stop:
    message = worker_pb.Stop(reason=stop.reason.value, superseded_by=stop.superseded_by or "")
    _set_duration(message.grace, stop.grace_us)
    return message


def _event_of_thread(put: Put, thread_id: str, record: EventRecord) -> thread_pb.WatchThreadResponse:
    return thread_pb.WatchThreadResponse(event=event(thread_id, record, put))


def _event_of_run(put: Put, thread_id: str, record: EventRecord) -> run_pb.WatchRunResponse:
    return run_pb.WatchRunResponse(event=event(thread_id, record, put))


def _both(convert: Callable[[Put, str, EventRecord], T]) -> dict[Put, Callable[[str, EventRecord], T]]:
    """One function for each way to put objects, so that all readers of a page share what it returned."""
    return {put: partial(convert, put) for put in (as_text, as_struct_or_text)}


EVENT_OF_THREAD: Final = _both(_event_of_thread)
EVENT_OF_RUN: Final = _both(_event_of_run)


def event(thread_id: str, record: EventRecord, put: Put) -> pb.Event:
    event, kind = record.event, record.event.kind
    message = pb.Event(sequence=event.sequence, thread_id=thread_id, run_id=event.run_id or "")
    _set_time(message.time, record.time)
    if isinstance(kind, RunChanged):
        setattr(message.run_changed, "from", RUN_STATUS[kind.before] if kind.before else 0)
        message.run_changed.to = RUN_STATUS[kind.after]
        message.run_changed.superseded_by = kind.superseded_by or ""
        message.run_changed.reason = kind.reason.value if kind.reason else ""
        message.run_changed.merged_into = kind.merged_into or ""
    elif isinstance(kind, StepCommitted):
        message.step_committed.step = kind.step
        if record.data is not None:
            put(message.step_committed, "update", record.data)
    elif isinstance(kind, RunEdited):
        message.run_edited.revision = kind.revision
        message.run_edited.queue_position = kind.queue_position
    elif isinstance(kind, ThreadChanged):
        message.thread_changed.held = kind.held
    else:
        message.output.channel = kind.channel
        if record.data is not None:
            put(message.output, "data" if record.data.startswith("{") else "value", record.data)
        message.output.part, message.output.first_part, message.output.last_part = (
            kind.part,
            kind.first_part,
            kind.last_part,
        )
    return message


def assistant(assistant: Assistant, put: Put) -> pb.Assistant:
    message = pb.Assistant(
        assistant_id=assistant.assistant_id,
        graph=assistant.graph,
        reducers={key: REDUCER[reducer] for key, reducer in assistant.reducers.items()},
        max_attempts=assistant.max_attempts,
    )
    put(message, "metadata", assistant.metadata)
    put(message, "config", assistant.config)
    _set_duration(message.stop_grace, assistant.stop_grace)
    if assistant.run_timeout is not None:
        _set_duration(message.run_timeout, assistant.run_timeout)
    _set_time(message.create_time, assistant.create_time)
    return message


def _copy_object(target: Struct, source: Struct) -> None:
    target.SetInParent()
    target.CopyFrom(source)


def _set_time(target: Timestamp, micros: int | None) -> None:
    if micros is not None:
        target.seconds, rest = divmod(micros, SECOND_US)
        target.nanos = rest * 1000


def _set_duration(target: Duration, micros: int) -> None:
    target.SetInParent()
    target.seconds, rest = divmod(micros, SECOND_US)
    target.nanos = rest * 1000
