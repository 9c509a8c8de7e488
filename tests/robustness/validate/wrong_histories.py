"""Violations, each planted in a history that is good (story.py)."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

from tests.robustness.history.history import Call, History, Json, Life


def planted(history: History, plant: Callable[[History], None]) -> History:
    changed = deepcopy(history)
    plant(changed)
    return changed


def call(history: History, label: str) -> Call:
    return next(call for call in history.calls if call.args.get("label") == label)


def run_of(history: History, label: str) -> str:
    return str(call(history, label).answer["run_id"])


def change(history: History, label: str, **what: Any) -> None:
    """Change what a call was answered."""
    call(history, label).answer.update(what)


def answer_as(history: History, label: str, other: str) -> None:
    """Answer a call as another one was."""
    one, as_another = call(history, label), call(history, other)
    one.outcome, one.answer = as_another.outcome, deepcopy(as_another.answer)


def where(life: Life, run_id: str, to: str = "", step: int = 0) -> int:
    """The place of an event: of a run's move, or of its step of that number among its own."""
    own = [at for at, event in enumerate(life.events) if event["run_id"] == run_id]
    if to:
        return next(at for at in own if life.events[at].get("run_changed", {}).get("to") == to)
    return [at for at in own if "step_committed" in life.events[at]][step - 1]


def insert(life: Life, at: int, event: Json) -> None:
    """Let something else have happened too, before what is at a place."""
    time = life.events[min(at, len(life.events) - 1)]["time"]
    life.events.insert(at, {"sequence": 0, "thread_id": "h", "time": time, **event})
    life.seen.insert(at, life.seen[min(at, len(life.seen) - 1)])
    renumber(life)


def remove(life: Life, at: int) -> Json:
    life.seen.pop(at)
    event = life.events.pop(at)
    renumber(life)
    return event


def renumber(life: Life) -> None:
    for number, event in enumerate(life.events, 1):
        event["sequence"] = number


def moved(run_id: str, before: str | None, to: str, superseded_by: str = "", reason: str = "") -> Json:
    change = {"from": before, "to": to, "superseded_by": superseded_by, "reason": reason}
    return {"run_id": run_id, "kind": "run_changed", "run_changed": change}


def stepped(run_id: str, step: int, text: str) -> Json:
    update = {"messages": [{"role": "assistant", "content": text}]}
    return {"run_id": run_id, "kind": "step_committed", "step_committed": {"step": step, "update": update}}


# Runs that are lost, or made by nobody


def an_accepted_run_is_lost(history: History) -> None:
    life, run_id = history.lives[0], run_of(history, "l")
    for at in reversed(range(len(life.events))):
        if life.events[at]["run_id"] == run_id:
            remove(life, at)


def a_run_that_nobody_asked_for(history: History) -> None:
    history.calls.remove(call(history, "c"))


def a_request_id_makes_two_runs(history: History) -> None:
    life = history.lives[0]
    insert(life, where(life, run_of(history, "g"), "pending") + 1, moved("another", None, "pending"))
    change(history, "g again", run_id="another", sequence=8, queue_position=2)
    later_sequences(history)


def an_unknown_call_took_effect_twice(history: History) -> None:
    a_request_id_makes_two_runs(history)
    first = call(history, "g")
    first.outcome, first.answer = "unknown", {}


def later_sequences(history: History) -> None:
    """One more run was admitted after g: count it in those that follow, so that nothing else is wrong."""
    since = call(history, "g again").began
    for each in history.calls:
        if each.began > since and each.outcome == "ok" and each.answer.get("sequence", 0) > 7:
            each.answer["sequence"] += 1


def an_unknown_call_took_effect_after_its_server_was_dead(history: History) -> None:
    """It was given up, then the server killed; the run was admitted later all the same."""
    late, killed = call(history, "j"), call(history, "state after by hand")
    late.outcome, late.answer, late.began, late.ended = "unknown", {}, killed.began - 2e-6, killed.began - 1e-6
    history.kills.append(killed.began)
    call(history, "state after by hand").began += 1e-6


def a_refused_call_made_a_run(history: History) -> None:
    answer_as(history, "c", "busy")


def a_run_is_made_before_it_is_asked_for(history: History) -> None:
    late = call(history, "f")
    late.began, late.ended = call(history, "f joined").ended, call(history, "f joined").ended + 1e-6


# Readings


def a_stale_state(history: History) -> None:
    answer_as(history, "state after b", "state after a")


def a_state_that_is_not_there_yet(history: History) -> None:
    answer_as(history, "state after a", "state while b runs")


def a_reading_that_goes_back_in_time(history: History) -> None:
    answer_as(history, "a ended", "a runs")


def two_states_of_one_step(history: History) -> None:
    change(history, "state after d", digest="of another")


def a_list_that_misses_a_run(history: History) -> None:
    call(history, "runs while d runs").answer["items"].pop()


def a_list_of_states_with_one_of_a_rolled_back_run(history: History) -> None:
    call(history, "states after d").answer["items"][0] = call(history, "state while d runs").answer


def a_thread_that_is_idle_while_a_run_runs(history: History) -> None:
    change(history, "thread while a runs", status="idle")


def a_thread_that_is_not_found_though_it_is_there(history: History) -> None:
    answer_as(history, "thread after a", "no thread")


def a_thread_that_is_found_after_it_was_deleted(history: History) -> None:
    answer_as(history, "no thread", "thread after second")


def a_setting_that_was_set_over(history: History) -> None:
    change(history, "thread after second", metadata={"tag": "first"})


def a_place_in_line_that_is_wrong(history: History) -> None:
    change(history, "k", queue_position=3)


def an_attempt_too_many(history: History) -> None:
    change(history, "a ended", attempt=2)


def a_sequence_given_twice(history: History) -> None:
    change(history, "b", sequence=1)


# What strategies do


def reject_is_refused_on_an_idle_thread(history: History) -> None:
    answer_as(history, "i", "busy")


def reject_is_accepted_on_a_busy_thread(history: History) -> None:
    call(history, "c").args["strategy"] = "reject"
    change(history, "c", multitask_strategy="reject")


def a_step_by_hand_is_refused_on_an_idle_thread(history: History) -> None:
    answer_as(history, "by hand", "busy by hand")


def enqueue_stops_what_runs(history: History) -> None:
    call(history, "d").args["strategy"] = "enqueue"
    change(history, "d", multitask_strategy="enqueue")


def a_superseded_run_is_not_told(history: History) -> None:
    call(history, "d").answer["superseded"].pop()


def superseded_by_another(history: History) -> None:
    change(history, "c ended", superseded_by=run_of(history, "a"))


def interrupt_leaves_a_waiting_run(history: History) -> None:
    life = history.lives[0]
    remove(life, where(life, run_of(history, "c"), "interrupted"))


def interrupt_loses_a_step(history: History) -> None:
    """Of b, whose last one nobody has any more afterwards."""
    change(history, "state after b", **call(history, "state after a").answer)
    call(history, "b joined").answer["state"] = call(history, "state after a").answer


def a_rollback_leaves_a_step(history: History) -> None:
    answer_as(history, "state after d", "state while d runs")


def a_rollback_undoes_a_run_that_had_finished(history: History) -> None:
    life, heir = history.lives[0], run_of(history, "f")
    insert(
        life, where(life, heir, "pending") + 1, moved(run_of(history, "a"), "success", "deleted", heir, "SUPERSEDED")
    )


def a_rolled_back_run_is_still_there(history: History) -> None:
    answer_as(history, "d gone", "d")


def a_cancel_rolls_back_nothing(history: History) -> None:
    answer_as(history, "state after i", "state while i runs")


def a_run_is_cancelled_by_nobody(history: History) -> None:
    for label in ("g cancelled", "g cancelled again"):
        history.calls.remove(call(history, label))


# How runs go on


def a_terminal_status_changes(history: History) -> None:
    change(history, "g cancelled again", status="deleted")


def a_run_that_ended_goes_on(history: History) -> None:
    life, run_id = history.lives[0], run_of(history, "a")
    insert(life, where(life, run_id, "success") + 1, moved(run_id, "success", "pending", reason="LEASE_LOST"))


def a_join_shows_the_state_of_a_later_run(history: History) -> None:
    call(history, "a joined").answer["state"] = call(history, "state while b runs").answer


def a_run_starts_out_of_order(history: History) -> None:
    life, first, second = history.lives[0], run_of(history, "j"), run_of(history, "k")
    at = where(life, first, "running")
    insert(life, at, moved(second, "pending", "running"))
    insert(life, at + 1, moved(second, "running", "pending", reason="RELEASED"))


def two_runs_at_once(history: History) -> None:
    life = history.lives[0]
    insert(life, where(life, run_of(history, "j"), "error"), moved(run_of(history, "k"), "pending", "running"))


def a_step_after_the_stop(history: History) -> None:
    life, run_id = history.lives[0], run_of(history, "b")
    insert(life, where(life, run_of(history, "c"), "interrupted") + 1, stepped(run_id, 6, f"{run_id} 2"))


def a_step_made_twice(history: History) -> None:
    life, run_id = history.lives[0], run_of(history, "i")
    insert(life, where(life, run_id, "deleted"), stepped(run_id, 10, f"{run_id} 1"))


def a_step_of_an_older_attempt(history: History) -> None:
    """It is rolled back before anybody reads a state that has it."""
    life, run_id = history.lives[0], run_of(history, "i")
    history.calls.remove(call(history, "state while i runs"))
    life.events[where(life, run_id, step=2)]["step_committed"]["update"]["attempt"] = 0


def a_run_without_its_input(history: History) -> None:
    life = history.lives[0]
    event = life.events[where(life, run_of(history, "k"), step=1)]
    event["step_committed"]["update"] = {"messages": [{"role": "user", "content": "something else"}]}


def an_event_is_missing(history: History) -> None:
    life = history.lives[0]
    del life.events[5], life.seen[5]


def an_event_is_told_otherwise_later(history: History) -> None:
    history.lives[0].changed.append("event 3 was told before")


# Records and lives


def a_record_is_back(history: History) -> None:
    answer_as(history, "a gone", "a ended")


def a_record_is_gone_before_it_is_deleted(history: History) -> None:
    answer_as(history, "a ended", "a gone")


def a_thread_is_deleted_by_nobody(history: History) -> None:
    history.calls.remove(call(history, "deleted"))


def a_thread_is_made_by_nobody(history: History) -> None:
    history.calls.remove(call(history, "made anew"))


def a_run_of_an_earlier_life_is_back(history: History) -> None:
    call(history, "runs anew").answer["items"].append(call(history, "c ended").answer)


PLANTS: Final[list[Callable[[History], None]]] = [
    an_accepted_run_is_lost,
    a_run_that_nobody_asked_for,
    a_request_id_makes_two_runs,
    an_unknown_call_took_effect_twice,
    an_unknown_call_took_effect_after_its_server_was_dead,
    a_refused_call_made_a_run,
    a_run_is_made_before_it_is_asked_for,
    a_stale_state,
    a_state_that_is_not_there_yet,
    a_reading_that_goes_back_in_time,
    two_states_of_one_step,
    a_list_that_misses_a_run,
    a_list_of_states_with_one_of_a_rolled_back_run,
    a_thread_that_is_idle_while_a_run_runs,
    a_thread_that_is_not_found_though_it_is_there,
    a_thread_that_is_found_after_it_was_deleted,
    a_setting_that_was_set_over,
    a_place_in_line_that_is_wrong,
    an_attempt_too_many,
    a_sequence_given_twice,
    reject_is_refused_on_an_idle_thread,
    reject_is_accepted_on_a_busy_thread,
    a_step_by_hand_is_refused_on_an_idle_thread,
    enqueue_stops_what_runs,
    a_superseded_run_is_not_told,
    superseded_by_another,
    interrupt_leaves_a_waiting_run,
    interrupt_loses_a_step,
    a_rollback_leaves_a_step,
    a_rollback_undoes_a_run_that_had_finished,
    a_rolled_back_run_is_still_there,
    a_cancel_rolls_back_nothing,
    a_run_is_cancelled_by_nobody,
    a_terminal_status_changes,
    a_run_that_ended_goes_on,
    a_join_shows_the_state_of_a_later_run,
    a_run_starts_out_of_order,
    two_runs_at_once,
    a_step_after_the_stop,
    a_step_made_twice,
    a_step_of_an_older_attempt,
    a_run_without_its_input,
    an_event_is_missing,
    an_event_is_told_otherwise_later,
    a_record_is_back,
    a_record_is_gone_before_it_is_deleted,
    a_thread_is_deleted_by_nobody,
    a_thread_is_made_by_nobody,
    a_run_of_an_earlier_life_is_back,
]
