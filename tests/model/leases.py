"""The oracle's other half: workers with their leases, the passing of time, and the server's own restarts."""

from collections.abc import Collection, Sequence
from typing import Any

from tests.model.oracle import Oracle, Refused
from tests.model.records import Json, Run, Stopped, assistant_view, run_view, seconds, when


class Model(Oracle):
    """All of the service."""

    # WorkerService

    def claim_run(self, run_id: str | None, graphs: Collection[str]) -> Json | None:
        """`run_id`: the one that the server chose, None when it says that there is none."""
        ready = {run.run_id: run for run in self.ready(graphs)}
        if run_id is None and not ready:
            return None
        run = ready.get(run_id or "")
        assert run is not None, f"{run_id} was claimed; these may start: {list(ready)}"
        self.start(run, self.lease)
        thread = self.threads[run.thread_id]
        return {
            "lease": lease_view(run, run.lease),
            "run": run_view(run),
            "assistant": assistant_view(run.assistant),
            "state": thread.state(len(thread.steps)),
        }

    def commit_step(
        self, run_id: str, epoch: int, update: Json | None, expected_step: int | None, absorb: Sequence[str] = ()
    ) -> Json:
        run = self._held(run_id, epoch)
        steps = self.threads[run.thread_id].steps
        first = len(steps) + 1
        if expected_step is None or expected_step == first:
            taken = [other for other in self.offered(run) if other.run_id in absorb]
            if update is not None:
                self.step(run, update)
            self.absorb(run, taken)
            call = (run_id, update, list(absorb), len(steps), [other.run_id for other in taken])
            self.commits[run.thread_id, first] = call
        else:
            call = self.commits.get((run.thread_id, expected_step), ("", None, [], 0, []))
            there = expected_step <= len(steps) and steps[expected_step - 1].run_id == run_id
            if call[:3] != (run_id, update, list(absorb)) or not there:
                raise Refused("INVALID_ARGUMENT", "INVALID_FIELD")
        return {"step": call[3], "absorbed": call[4], "steers": [other.run_id for other in self.offered(run)]}

    def publish_output(self, run_id: str, epoch: int, outputs: list[tuple[str, Json]]) -> None:
        run = self._held(run_id, epoch)
        for channel, data in outputs:
            self.output(run, channel, data)

    def heartbeat(self, run_id: str, epoch: int) -> Json:
        """The lease, and the stop if there is one."""
        now = self.clock()
        if (stopped := self._awaited(run_id, epoch)) is not None and now < stopped.until:
            stopped.until = min(stopped.grace_until, now + self.lease)
            stop = self.stop(stopped.run, stopped.grace_until - now)
            return {"lease": lease_view(stopped.run, stopped.until), "stop": stop, "steers": []}
        run = self._held(run_id, epoch)
        run.lease = now + self.lease
        steers = [other.run_id for other in self.offered(run)]
        return {"lease": lease_view(run, run.lease), "stop": None, "steers": steers}

    def stop(self, run: Run, grace: int) -> Json:
        """What a worker is told; of a run whose record is gone, only that it was cancelled is known."""
        kept = run.run_id in self.graves or any(run.run_id in thread.runs for thread in self.threads.values())
        gone_with_its_thread = run.reason == "THREAD_DELETED"
        reason, by = (run.reason, run.superseded_by) if kept or gone_with_its_thread else ("CANCELLED", "")
        return {"reason": reason, "superseded_by": by, "grace": seconds(grace)}

    def finish_run(self, run_id: str, epoch: int, outcome: Json) -> Json:
        """`outcome`: {"update": …} or {"error": …}."""
        known = self._known(run_id)
        if known is not None and known.outcome == (epoch, outcome):
            return run_view(known)
        self._acknowledge_too_late(run_id, epoch)
        run = self._held(run_id, epoch)
        if outcome.get("update") is not None:
            self.step(run, outcome["update"])
        run.outcome = (epoch, outcome)
        self.end(run, outcome.get("error"))
        return run_view(run)

    def _acknowledge_too_late(self, run_id: str, epoch: int) -> None:
        """An outcome of a stopped run is refused, and is its last word."""
        if (stopped := self._awaited(run_id, epoch)) is not None:
            self.threads[stopped.run.thread_id].stopped = None

    def release_run(self, run_id: str, epoch: int) -> None:
        if (stopped := self._awaited(run_id, epoch)) is not None:
            self.threads[stopped.run.thread_id].stopped = None
            return
        known = self._known(run_id)
        if known is not None and (known.status, known.reason, known.epoch) == ("pending", "RELEASED", epoch):
            return
        self.hand_back(self._held(run_id, epoch), "RELEASED")

    def _awaited(self, run_id: str, epoch: int) -> Stopped | None:
        for thread in self.threads.values():
            stopped = thread.stopped
            if stopped is not None and (stopped.run.run_id, stopped.run.epoch) == (run_id, epoch):
                return None if self._is_own(stopped.run) else stopped
        return None

    def _held(self, run_id: str, epoch: int) -> Run:
        run = self._known(run_id)
        if run is None:
            raise lost(run_id, epoch, 0, "DELETED")
        if run.status != "running":
            gone = run.status == "deleted"
            raise lost(run_id, epoch, 0 if gone else run.epoch, run.reason or run.status.upper())
        if epoch != run.epoch:
            raise lost(run_id, epoch, run.epoch, "CLAIMED_AGAIN")
        if run.lease is None:
            raise lost(run_id, epoch, run.epoch, "FOREIGN")
        if run.lease <= self.clock():
            raise lost(run_id, epoch, run.epoch, "EXPIRED")
        return run

    def _known(self, run_id: str) -> Run | None:
        try:
            return self._find(run_id)
        except Refused:
            return None

    def _is_own(self, run: Run) -> bool:
        return run.assistant.graph in self.own

    # The server

    def settle(self) -> None:
        """What the server does of itself: its graphs obey when they are stopped, and start when they may."""
        for thread in self.threads.values():
            stopped = thread.stopped.run if thread.stopped else None
            if stopped is not None and self._is_own(stopped) and stopped.run_id not in self.stubborn:
                thread.stopped = None
        for run in self.ready(self.own):
            self.start(run, None)

    def dues(self) -> list[int]:
        """The moments at which something happens of itself, in order."""
        found: list[int | None] = []
        for thread in self.threads.values():
            found += [run.due_time for run in thread.line(self.clock()) if run.due_time > self.clock()]
            if (run := thread.running) is not None:
                found += [run.lease, end_of_time(run)]
            found += [thread.stopped.until] if thread.stopped else []
            found += [run.expire_time for run in thread.in_flight if run.waits]
        return sorted({due for due in found if due is not None})

    def time_passed(self) -> None:
        now = self.clock()
        self.expire()
        for thread in self.threads.values():
            if (run := thread.running) is not None:
                if (end := end_of_time(run)) is not None and end <= now:
                    self._stop(thread, run, "timeout", "TIMEOUT")
                elif run.lease is not None and run.lease <= now:
                    self.lose(run)
            if thread.stopped is not None and thread.stopped.until <= now:
                thread.stopped = None
        self.settle()

    def restarted(self, *, orderly: bool) -> None:
        """Workers keep their leases; what the server executed itself is handed back, or lost, and begins anew."""
        for thread in self.threads.values():
            if (run := thread.running) is not None and self._is_own(run):
                if orderly:
                    self.hand_back(run, "RELEASED")
                else:
                    self.lose(run)
            if thread.stopped is not None and self._is_own(thread.stopped.run):
                thread.stopped = None
        self.stubborn.clear()
        self._add_own_assistants()
        self.time_passed()


def end_of_time(run: Run) -> int | None:
    return None if run.timeout is None or run.start_time is None else run.start_time + run.timeout


def lease_view(run: Run, expires: int | None) -> Json:
    return {"run_id": run.run_id, "epoch": run.epoch, "expire_time": when(expires)}


def lost(run_id: str, epoch: int, current: int, cause: str) -> Refused:
    facts: dict[str, Any] = {"run_id": run_id, "epoch": epoch, "current_epoch": current, "cause": cause}
    return Refused("FAILED_PRECONDITION", "LEASE_LOST", **facts)
