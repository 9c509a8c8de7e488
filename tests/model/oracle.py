"""The service as its contract tells it, small enough to be believed: dictionaries and lists, one call at a time.

Written from the contract and the comments of the protos alone. Answers are those of the Python client; what is refused
raises Refused. Where the server may choose (ids, and which thread's run is claimed), a method is told what it chose.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final
from unittest.mock import ANY

from tests.model.records import (
    IN_FLIGHT,
    Assistant,
    Json,
    Run,
    Step,
    Stopped,
    Thread,
    assistant_view,
    changed,
    fits,
    grave_view,
    micros,
    run_view,
    when,
)

STOPS: Final = {"interrupt": "interrupted", "rollback": "deleted"}
POLICIES: Final = {
    "enqueue": ("keep", "supersede", "merge"),
    "interrupt": ("supersede", "keep", "merge"),
    "rollback": ("supersede", "keep", "merge"),
    "steer": ("keep",),
}
"""The queue policies of the strategies that have one, the default one first."""


class Refused(Exception):
    """`metadata`: what the contract says that it holds; there may be more."""

    def __init__(self, code: str, reason: str, **metadata: object) -> None:
        super().__init__(code, reason, metadata)
        self.code, self.reason = code, reason
        self.metadata = {name: str(value) for name, value in metadata.items()}


class Oracle:
    """own       the graphs that the server executes itself, whose runs start as soon as they may
    stubborn  the runs whose code goes on when it is stopped
    ends      of each run that has become final, what whoever was joined to it gets
    last_words  the events of each thread that was deleted
    commits   the newest CommitStep that made a thread's step as its first: its run, update and `absorb`; its last step,
              and what it took
    """

    def __init__(self, clock: Callable[[], int], lease: int, own: Iterable[str] = ()) -> None:
        self.clock, self.lease, self.own = clock, lease, tuple(own)
        self.assistants: dict[str, Assistant] = {}
        self.threads: dict[str, Thread] = {}
        self.graves: dict[str, Run] = {}
        self.stubborn: set[str] = set()
        self.ends: dict[str, Json] = {}
        self.last_words: dict[str, list[Json]] = {}
        self.commits: dict[tuple[str, int], tuple[str, Json | None, list[str], int, list[str]]] = {}
        self._add_own_assistants()

    # Assistants

    def _add_own_assistants(self) -> None:
        for name in self.own:
            limit = micros(600) if name in ("agent", "echo") else None
            self.assistants.setdefault(name, Assistant(name, name, self.clock(), run_timeout=limit))

    def create_assistant(self, assistant_id: str, graph: str, **given: Any) -> Json:
        if assistant_id in self.assistants:
            raise Refused("ALREADY_EXISTS", "ASSISTANT_EXISTS", assistant_id=assistant_id)
        made = self.assistants[assistant_id] = Assistant(assistant_id, graph, self.clock(), **given)
        return assistant_view(made)

    def _assistant(self, assistant_id: str) -> Assistant:
        if assistant_id not in self.assistants:
            raise Refused("NOT_FOUND", "ASSISTANT_NOT_FOUND", assistant_id=assistant_id)
        return self.assistants[assistant_id]

    def get_assistant(self, assistant_id: str) -> Json:
        return assistant_view(self._assistant(assistant_id))

    def list_assistants(self) -> list[Json]:
        return [assistant_view(self.assistants[name]) for name in sorted(self.assistants)]

    def delete_assistant(self, assistant_id: str) -> None:
        self._assistant(assistant_id)
        del self.assistants[assistant_id]

    # Threads

    def create_thread(self, thread_id: str, **settings: Any) -> Json:
        if thread_id in self.threads:
            raise Refused("ALREADY_EXISTS", "THREAD_EXISTS", thread_id=thread_id)
        made = self.threads[thread_id] = Thread(thread_id, self.clock(), self.clock(), **settings)
        return made.view()

    def _thread(self, thread_id: str) -> Thread:
        if thread_id not in self.threads:
            raise Refused("NOT_FOUND", "THREAD_NOT_FOUND", thread_id=thread_id)
        return self.threads[thread_id]

    def get_thread(self, thread_id: str) -> Json:
        return self._thread(thread_id).view()

    def list_threads(self, statuses: Collection[str], metadata: Json) -> list[Json]:
        newest_first = sorted(self.threads.values(), key=lambda thread: thread.create_time, reverse=True)
        views = [thread.view() for thread in newest_first]
        return [v for v in views if (not statuses or v["status"] in statuses) and fits(v, metadata)]

    def update_thread(self, thread_id: str, **settings: Any) -> Json:
        thread = self._thread(thread_id)
        for name, value in settings.items():
            setattr(thread, name, value)
        thread.update_time = self.clock()
        return thread.view()

    def delete_thread(self, thread_id: str) -> None:
        thread = self._thread(thread_id)
        for run in self._stopping_order(thread):
            self._stop(thread, run, "deleted", "THREAD_DELETED")
            nothing = Thread(thread_id, run.create_time, 0).state(0)
            self.ends[run.run_id] = {"run": run_view(run), "state": nothing}
        self.graves = {run_id: run for run_id, run in self.graves.items() if run.thread_id != thread_id}
        self.last_words[thread_id] = thread.events
        del self.threads[thread_id]

    def get_state(self, thread_id: str, step: int | None) -> Json:
        thread = self._thread(thread_id)
        last = len(thread.steps)
        if step is not None and step > last:
            raise Refused("NOT_FOUND", "STEP_NOT_FOUND", thread_id=thread_id, step=step, last_step=last)
        return thread.state(last if step is None else step)

    def list_states(self, thread_id: str) -> list[Json]:
        thread = self._thread(thread_id)
        return [thread.state(step) for step in range(len(thread.steps), 0, -1)]

    def update_state(self, thread_id: str, values: Json, assistant_id: str | None) -> Json:
        reducers = Assistant("", "", 0).reducers if assistant_id is None else self._assistant(assistant_id).reducers
        thread = self._thread(thread_id)
        if thread.in_flight:
            raise self._busy(thread, "FAILED_PRECONDITION")
        self._step(thread, "", values, reducers)
        return thread.state(len(thread.steps))

    def _busy(self, thread: Thread, code: str) -> Refused:
        active = thread.running or thread.line(self.clock())[0]
        return Refused(
            code,
            "THREAD_BUSY",
            thread_id=thread.thread_id,
            active_run_id=active.run_id,
            active_run_status=active.status,
            in_flight_runs=len(thread.in_flight),
        )

    # Runs

    def create_run(self, run_id: str, thread_id: str, assistant_id: str, *, request_id: str, **said: Any) -> Json:
        """`said`: the rest of the client's arguments, None for those that are absent."""
        content = (assistant_id, said)
        thread = self.threads.get(thread_id)
        if thread is not None and request_id in thread.requests:
            return self._repeated(*thread.requests[request_id], content)
        if thread is None and said["if_thread_not_exists"] != "create":
            raise Refused("NOT_FOUND", "THREAD_NOT_FOUND", thread_id=thread_id)
        assistant, now = self._assistant(assistant_id), self.clock()
        if thread is None:
            thread = Thread(thread_id, now, now)
        strategy = said["multitask_strategy"] or thread.default_strategy.replace("unspecified", "enqueue")
        started = next((run for run in thread.in_flight if not run.waits), None)
        if said["expected_run_id"] not in (None, started and started.run_id):
            raise Refused("FAILED_PRECONDITION", "RUN_CHANGED", active_run_id=started.run_id if started else "")
        policy = self._policy(strategy, said, thread.default_queue_policy)
        if strategy == "reject" and thread.in_flight:
            raise self._busy(thread, "ALREADY_EXISTS")
        if strategy == "join" and thread.in_flight:
            newest = max(thread.in_flight, key=lambda run: run.sequence)
            thread.requests[request_id] = (newest.run_id, content, True)
            return {**self._view(newest), "superseded": [], "joined": True}
        waiting = [other for other in thread.in_flight if other.waits]
        takes = [other for other in waiting if policy == "merge" and self._is_taken(other, assistant_id)]
        stays = [other for other in waiting if policy != "supersede"]
        if sum(1 + len(other.taken) for other in stays) >= (thread.max_queued_runs or 100):
            raise Refused("RESOURCE_EXHAUSTED", "QUEUE_FULL", thread_id=thread_id)
        self.threads[thread_id] = thread
        thread.admitted += 1
        timeout = assistant.run_timeout if said["timeout"] is None else micros(said["timeout"])
        given = (said["input"], said["metadata"])
        taken = sorted((each for other in takes for each in (*other.taken, other)), key=lambda run: run.sequence)
        due = now + micros(said["debounce"] or said["delay"] or 0)
        if said["max_wait"]:
            oldest = min([now, *(other.create_time for other in taken)])
            due = max(now, min(due, oldest + micros(said["max_wait"])))
        run = Run(run_id, thread_id, thread.admitted, assistant, strategy, *given, now, due, timeout)
        run.queue_policy, run.debounced = policy, said["debounce"] is not None
        run.expire_time = None if said["start_within"] is None else due + micros(said["start_within"])
        run.rank = run.sequence
        if strategy in STOPS:
            run.rank = min([run.rank, *(other.rank - 1 for other in stays if other not in takes)])
        if strategy == "steer" and started is not None and started.assistant.assistant_id == assistant_id:
            run.rank = self._rank_of_steer(stays, run.rank)
        in_flight = self._stopping_order(thread)
        thread.runs[run_id] = run
        thread.requests[request_id] = (run_id, content, False)
        self._event(thread, run_id, run_changed=changed(None, run))
        ended = []
        for other in in_flight:
            if other.base is not None and strategy in STOPS:
                ended.append(self._stop(thread, other, STOPS[strategy], "SUPERSEDED", run_id))
            elif other.base is None and policy == "supersede":
                status = "deleted" if strategy == "rollback" else "interrupted"
                ended.append(self._stop(thread, other, status, "SUPERSEDED", run_id))
            elif other in takes:
                other.merged_into = run_id
                self._move(thread, other, "merged")
        for each in taken:
            each.merged_into = run_id
        run.taken = taken
        answer = self._view(run)
        superseded = sorted((run_view(other) for other in ended), key=lambda view: view["sequence"])
        return {**answer, "superseded": superseded, "joined": False}

    def _rank_of_steer(self, waiting: list[Run], last: float) -> float:
        """Behind those that steer at the front of the line, and before all others."""
        line = sorted(waiting, key=lambda run: (run.rank, run.sequence))
        front = [run.strategy == "steer" for run in line]
        place = front.index(False) if False in front else len(line)
        if place == len(line):
            return last
        return line[0].rank - 1 if place == 0 else (line[place - 1].rank + line[place].rank) / 2

    def offered(self, run: Run) -> list[Run]:
        """What the run that has started may take."""
        waiting = [other for other in self.threads[run.thread_id].line(self.clock()) if other.waits]
        due = [other for other in waiting if other.strategy == "steer" and other.due_time <= self.clock()]
        return [other for other in due if other.assistant.assistant_id == run.assistant.assistant_id]

    def absorb(self, run: Run, taken: list[Run]) -> None:
        thread = self.threads[run.thread_id]
        for other in taken:
            self.step(run, other.input, other.run_id)
        for other in sorted(taken, key=lambda other: other.sequence):
            other.merged_into = run.run_id
            self._move(thread, other, "merged")
        run.taken = sorted([*run.taken, *taken], key=lambda other: other.sequence)

    def _policy(self, strategy: str, said: Json, default: str) -> str:
        allowed = POLICIES.get(strategy, ())
        if said["queue_policy"] is not None and said["queue_policy"] not in allowed:
            raise Refused("INVALID_ARGUMENT", "INVALID_FIELD")
        policy = next((each for each in (said["queue_policy"], default, *allowed) if each in allowed), "unspecified")
        if said["debounce"] is not None and policy != "merge":
            raise Refused("INVALID_ARGUMENT", "INVALID_FIELD")
        return policy

    def _is_taken(self, run: Run, assistant_id: str) -> bool:
        return run.assistant.assistant_id == assistant_id and (run.debounced or run.due_time <= self.clock())

    def _repeated(self, run_id: str, first: object, joined: bool, said: object) -> Json:
        if first != said:
            raise Refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED")
        run = self._find(run_id)
        others = [*self.threads[run.thread_id].runs.values(), *self.graves.values()]
        ended = [other for other in others if other.superseded_by == run_id]
        ended.sort(key=lambda other: other.sequence)
        return {**self._view(run), "superseded": [self._view(other) for other in ended], "joined": joined}

    def _stopping_order(self, thread: Thread) -> list[Run]:
        """What is in flight: first the one with steps, so that the others see what is left of the state."""
        return sorted(thread.in_flight, key=lambda run: (run.base is None, run.sequence))

    def _find(self, run_id: str, thread_id: str | None = None) -> Run:
        runs = {**self.graves, **{run.run_id: run for t in self.threads.values() for run in t.runs.values()}}
        if run_id not in runs or thread_id not in (None, runs[run_id].thread_id):
            raise Refused("NOT_FOUND", "RUN_NOT_FOUND", run_id=run_id)
        return runs[run_id]

    def _kept(self, run_id: str, thread_id: str | None) -> Run:
        run = self._find(run_id, thread_id)
        if run.status == "deleted":
            facts = {"superseded_by": run.superseded_by, "deleted_at": when(run.end_time)}
            raise Refused("NOT_FOUND", "RUN_ROLLED_BACK", run_id=run_id, **facts)
        return run

    def _view(self, run: Run) -> Json:
        if run.status == "deleted":
            return grave_view(run)
        waiting = [each.run_id for each in self.threads[run.thread_id].line(self.clock())]
        return run_view(run, waiting.index(run.run_id) + 1 if run.run_id in waiting else 0)

    def get_run(self, run_id: str, thread_id: str | None) -> Json:
        return self._view(self._kept(run_id, thread_id))

    def list_runs(self, thread_id: str, statuses: Collection[str], metadata: Json, oldest_first: bool) -> list[Json]:
        runs = sorted(self._thread(thread_id).runs.values(), key=lambda run: run.sequence, reverse=not oldest_first)
        views = [self._view(run) for run in runs if not statuses or run.status in statuses]
        return [view for view in views if fits(view, metadata)]

    def join_run(self, run_id: str, thread_id: str | None) -> Json:
        """What a call that does not wait gets."""
        run = self._kept(run_id, thread_id)
        thread = self.threads[run.thread_id]
        return {"run": self._view(run), "state": thread.state(run.left if run.end_time else len(thread.steps))}

    def cancel_run(self, run_id: str, thread_id: str | None, action: str) -> Json:
        run = self._find(run_id, thread_id)
        if run.status not in IN_FLIGHT:
            return self._view(run)
        self._stop(self.threads[run.thread_id], run, STOPS[action], "CANCELLED")
        return run_view(run)

    def delete_run(self, run_id: str, thread_id: str | None) -> None:
        run = self._kept(run_id, thread_id)
        if run.status in IN_FLIGHT:
            raise Refused("FAILED_PRECONDITION", "RUN_IN_FLIGHT", run_id=run_id)
        thread = self.threads[run.thread_id]
        taker = thread.runs.get(run.merged_into)
        if taker is not None and taker.status in IN_FLIGHT:
            raise Refused("FAILED_PRECONDITION", "RUN_IN_FLIGHT", run_id=taker.run_id)
        for other in thread.runs.values():
            other.taken = [taken for taken in other.taken if taken is not run]
        del thread.runs[run_id]
        thread.update_time = self.clock()

    def events(self, thread_id: str, run_id: str | None = None, after: int = 0) -> list[Json]:
        events = self._thread(thread_id).events[after:]
        return [event for event in events if run_id in (None, event["run_id"])]

    # What runs go through

    def start(self, run: Run, lease: int | None) -> None:
        """Begin the next attempt: `lease` microseconds for a worker, None for the server itself."""
        thread = self.threads[run.thread_id]
        thread.stopped = None
        run.attempt, run.epoch, run.start_time, run.reason = run.attempt + 1, run.epoch + 1, self.clock(), ""
        run.lease = None if lease is None else self.clock() + lease
        self._move(thread, run, "running")
        if run.base is None:
            run.base = len(thread.steps)
            for each in (*run.taken, run):
                self.step(run, each.input, each.run_id)

    def ready(self, graphs: Collection[str]) -> list[Run]:
        """The runs that may start now, one of a thread at most."""
        now = self.clock()
        free = [t for t in self.threads.values() if not t.running and not (t.stopped and now < t.stopped.until)]
        heads = [line[0] for thread in free if (line := thread.line(now))]
        return [run for run in heads if run.due_time <= now and run.assistant.graph in graphs]

    def step(self, run: Run, update: Json, input_of: str = "") -> int:
        thread = self.threads[run.thread_id]
        self._step(thread, run.run_id, update, run.assistant.reducers, input_of)
        run.last_step = run.left = len(thread.steps)
        return run.last_step

    def output(self, run: Run, channel: str, data: Json) -> None:
        self._event(self.threads[run.thread_id], run.run_id, output={"channel": channel, "data": data})

    def end(self, run: Run, error: Json | None = None, reason: str = "") -> None:
        run.error, run.reason = error, reason
        self._move(self.threads[run.thread_id], run, "error" if error else "success")

    def hand_back(self, run: Run, reason: str) -> None:
        run.reason = reason
        run.attempt -= reason == "RELEASED"
        self._move(self.threads[run.thread_id], run, "pending")

    def lose(self, run: Run) -> None:
        """Whoever executed it is gone."""
        if run.attempt < run.assistant.max_attempts:
            self.hand_back(run, "LEASE_LOST")
        else:
            self.end(run, {"type": "MaxAttempts", "message": ANY}, "MAX_ATTEMPTS")

    def expire(self) -> None:
        """End the runs that should have started by now."""
        for thread in self.threads.values():
            for run in sorted(thread.in_flight, key=lambda run: run.sequence):
                if run.waits and run.expire_time is not None and run.expire_time <= self.clock():
                    run.reason = "EXPIRED"
                    self._move(thread, run, "timeout")

    def _stop(self, thread: Thread, run: Run, status: str, reason: str, superseded_by: str = "") -> Run:
        now, was_running, run.reason, run.superseded_by = self.clock(), run.status == "running", reason, superseded_by
        if was_running:
            grace = now + run.assistant.stop_grace
            thread.stopped = Stopped(run, grace, grace if run.lease is None else min(grace, run.lease))
        if status == "deleted":
            self._undo(thread, run)
        self._move(thread, run, status)
        for taken in run.taken if status == "deleted" else ():
            taken.reason, taken.superseded_by = reason, superseded_by
            self._undo(thread, taken)
            self._move(thread, taken, "deleted")
        return run

    def _undo(self, thread: Thread, run: Run) -> None:
        if run.base is not None:
            del thread.steps[run.base :]
        run.last_step, run.left = 0, len(thread.steps)
        for event in thread.events:
            if event["run_id"] == run.run_id and event["kind"] == "output":
                event["output"]["data"] = None
            if event["run_id"] == run.run_id and event["kind"] == "step_committed":
                event["step_committed"]["update"] = None
        for other in thread.runs.values():
            other.left = min(other.left, len(thread.steps)) if other.last_step == 0 else other.left
        del thread.runs[run.run_id]
        self.graves[run.run_id] = run

    def _move(self, thread: Thread, run: Run, status: str) -> None:
        before, run.status = run.status, status
        run.lease = run.lease if status == "running" else None
        self._event(thread, run.run_id, run_changed=changed(before, run))
        if status not in IN_FLIGHT:
            run.end_time = self.clock()
            run.left = run.left if run.last_step else len(thread.steps)
            self.ends[run.run_id] = {"run": run_view(run), "state": thread.state(run.left)}

    def _step(self, thread: Thread, run_id: str, update: Json, reducers: dict[str, str], input_of: str = "") -> None:
        thread.steps.append(Step(run_id, update, reducers, self.clock(), input_of))
        self._event(thread, run_id, step_committed={"step": len(thread.steps), "update": update})

    def _event(self, thread: Thread, run_id: str, **kind: Json) -> None:
        (name,) = kind
        event = {"sequence": len(thread.events) + 1, "thread_id": thread.thread_id, "run_id": run_id}
        thread.events.append({**event, "time": when(self.clock()), "kind": name, **kind})
        thread.update_time = self.clock()
