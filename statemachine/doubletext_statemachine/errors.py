"""Every refusal.

Refusal
├── ThreadBusy            REJECT while a run is in flight
├── ThreadInFlight        UpdateState while a run is in flight
├── ThreadExists · AssistantExists
├── ThreadNotFound · RunNotFound · AssistantNotFound · StepNotFound
├── RunRolledBack
├── RequestIdReused
├── RunInFlight           DeleteRun before the run is final
├── RunChanged       CreateRun for a running run that is not the one expected
├── RunStarted · RevisionChanged  an edit of a run that no longer waits, or that another call has edited
├── LeaseLost             a call of an attempt that no longer holds its run
├── QueueFull
├── InvalidField · InvalidPageToken · EventsTrimmed · ValueNotExact
├── TooLarge · Overloaded
└── NotReady              starting, stopping, or unable to write

A message says what is, what was wanted, and what to do; every variable in it is an attribute and stands in `facts`.
"""

from itertools import accumulate
from typing import ClassVar


class Refusal(Exception):
    """A request that the rules don't allow. `facts`: the variables of the message, as text."""

    template: ClassVar[str]

    def __init__(self, **facts: object) -> None:
        self.facts = {name: str(value) for name, value in facts.items()}
        super().__init__(self.template.format(**self.facts))


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "…"


class ThreadBusy(Refusal):
    template = (
        "thread '{thread_id}' is busy: run '{active_run_id}' is {active_run_status}; wait for it, "
        "or pass another multitask_strategy"
    )


class ThreadInFlight(Refusal):
    template = (
        "thread '{thread_id}' is busy: run '{active_run_id}' is {active_run_status}; "
        "its state can be updated once no run is in flight: join the run or cancel it"
    )


class ThreadExists(Refusal):
    template = "thread '{thread_id}' exists already; use it, or choose another id"


class AssistantExists(Refusal):
    template = "assistant '{assistant_id}' exists already; delete it first, or choose another id"


class ThreadNotFound(Refusal):
    template = "there is no thread '{thread_id}'; create it first (CreateRun can, with if_thread_not_exists)"


class RunNotFound(Refusal):
    template = "there is no run '{run_id}'{where}; it may have been deleted, or belong to another thread"

    def __init__(self, run_id: str, thread_id: str = "") -> None:
        super().__init__(run_id=run_id, where=f" on thread '{thread_id}'" if thread_id else "")
        del self.facts["where"]
        if thread_id:
            self.facts["thread_id"] = thread_id


class AssistantNotFound(Refusal):
    template = "there is no assistant '{assistant_id}'; list them with ListAssistants, or create it"


class StepNotFound(Refusal):
    template = "thread '{thread_id}' has no step {step}: its steps are 0 to {last_step}"


class RunRolledBack(Refusal):
    template = "run '{run_id}' was rolled back at {deleted_at} ({cause}) and deleted with all that it did"


class RequestIdReused(Refusal):
    template = (
        "request_id '{request_id}' named another call on thread '{thread_id}' (run '{run_id}'); "
        "repeat a call with the same content, or choose a new request_id"
    )


class RunInFlight(Refusal):
    template = "run '{run_id}' is {status}; only a final run can be deleted: cancel it first"


class RunChanged(Refusal):
    template = (
        "on thread '{thread_id}' {what} is running, and not run '{expected_run_id}'; "
        "look at the thread, and call again without expected_run_id or with the one that is running"
    )

    def __init__(self, thread_id: str, expected_run_id: str, active_run_id: str) -> None:
        what = f"run '{active_run_id}'" if active_run_id else "no run"
        super().__init__(thread_id=thread_id, expected_run_id=expected_run_id, active_run_id=active_run_id, what=what)
        del self.facts["what"]


class RunStarted(Refusal):
    template = "run '{run_id}' is {status}, and no longer waits; only a run that has not started can be edited or moved"


class RevisionChanged(Refusal):
    template = (
        "run '{run_id}' has revision {revision}, not {expected_revision}: another call has edited it; "
        "read it, and call again with its revision"
    )


class LeaseLost(Refusal):
    template = (
        "epoch {epoch} of run '{run_id}' is over ({cause}; the current epoch is {current_epoch}); "
        "nothing was written: stop this attempt"
    )


class QueueFull(Refusal):
    template = (
        "thread '{thread_id}' has {queued_runs} pending runs, its limit being {max_queued_runs}; "
        "wait for some of them, cancel some, or raise max_queued_runs"
    )


class InvalidField(Refusal):
    """`violations`: (field, what is wrong) pairs, all of the request's; the message has the first few."""

    template = "{problems}"
    longest: ClassVar[int] = 1000

    def __init__(self, violations: list[tuple[str, str]]) -> None:
        self.violations = [(field, _short(description)) for field, description in violations]
        sizes = accumulate(len(field) + len(description) for field, description in self.violations)
        first = self.violations[: sum(size <= self.longest for size in sizes)]
        problems = [f"{field}: {description}" for field, description in first]
        if (more := len(violations) - len(first)) > 0:
            problems.append(f"and {more} more")
        super().__init__(problems="; ".join(problems))
        self.facts = dict(first)


class InvalidPageToken(Refusal):
    template = "the page_token was not given by this request; start again without one, and change nothing between pages"

    def __init__(self) -> None:
        super().__init__()


class EventsTrimmed(Refusal):
    template = (
        "events after {after_sequence} of thread '{thread_id}' are no longer all kept, the oldest being "
        "{oldest_sequence}; read the state, and watch from there"
    )


class ValueNotExact(Refusal):
    template = (
        "google.protobuf.Struct cannot hold the value of {path} exactly; "
        "call with the metadata 'doubletext-json: text' to get JSON text instead"
    )


class TooLarge(Refusal):
    template = "{what} is {size} bytes, the limit being {limit}; store large things elsewhere and send a reference"


class Overloaded(Refusal):
    template = "the server has {calls} {what}, its limit being {limit}; try again in a moment"


class NotReady(Refusal):
    template = "the server is {what}; try again"
