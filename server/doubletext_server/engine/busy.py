"""Threads with runs in flight, as their last commits left them: by these a run that wants an idle thread is refused,
without a reading of the store. Lives on the event loop. See docs/decisions/0045.
"""

from doubletext_statemachine.model import ThreadView


class Busy:
    """A thread's view is given out only while no change of it is under way, since it is exact only then: whatever may
    have been answered from the store is in it. Call `begin` for each change, then `committed` or `failed`.
    """

    def __init__(self) -> None:
        self._views: dict[str, ThreadView] = {}
        self._under_way: dict[str, int] = {}

    def view(self, thread_id: str) -> ThreadView | None:
        """All that is in flight on the thread; None when nothing is, or when that is not known just now."""
        return None if thread_id in self._under_way else self._views.get(thread_id)  # mutant: busy-view

    def begin(self, thread_id: str) -> None:
        self._under_way[thread_id] = self._under_way.get(thread_id, 0) + 1

    def committed(self, thread_id: str, view: ThreadView | None) -> None:
        """The thread as a commit left it; None for a view that does not list all that is in flight."""
        self._end(thread_id)
        if view is not None and view.runs:
            self._views[thread_id] = view
        else:
            self._views.pop(thread_id, None)

    def failed(self, thread_id: str, *, unchanged: bool) -> None:
        self._end(thread_id)
        if not unchanged:
            self._views.pop(thread_id, None)

    def _end(self, thread_id: str) -> None:
        left = self._under_way[thread_id] - 1
        if left:
            self._under_way[thread_id] = left
        else:
            del self._under_way[thread_id]
