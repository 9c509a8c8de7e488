"""The views of threads with runs in flight. They let the engine refuse a run that needs an idle thread without a read
of the store.

All this is used on the event loop only. See docs/decisions/0045.
"""

from doubletext_statemachine.model import ThreadView


class Busy:
    """The views that the last commits left. A view is exact only while no change of its thread is under way.

    Call `begin` for each change, and then `committed` or `failed`.
    """

    def __init__(self) -> None:
        self._views: dict[str, ThreadView] = {}
        self._under_way: dict[str, int] = {}

    def view(self, thread_id: str) -> ThreadView | None:
        """Return the thread with all its runs in flight. None: no run is in flight, or the view is not exact now."""
        return None if thread_id in self._under_way else self._views.get(thread_id)  # mutant: busy-view

    def begin(self, thread_id: str) -> None:
        self._under_way[thread_id] = self._under_way.get(thread_id, 0) + 1

    def committed(self, thread_id: str, view: ThreadView | None) -> None:
        """Keep the view that a commit left. None: the view does not list all runs in flight."""
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
