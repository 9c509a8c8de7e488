"""What happens when a second message arrives on a conversation while the first is still being answered.

`Client` talks to the service; `graph` writes what it runs; `Worker` runs it in a process of your own.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

# Here and not below: a module has the same name as `graph`, and whichever is imported last takes the name.
from doubletext.graph import Context, Graph, graph

if TYPE_CHECKING:
    from doubletext.client import Client
    from doubletext.errors import (
        AssistantExists,
        AssistantNotFound,
        DeadlineExceeded,
        DoubletextError,
        EventsTrimmed,
        InternalError,
        InvalidField,
        InvalidPageToken,
        LeaseLost,
        NotFound,
        NotReady,
        Overloaded,
        QueueFull,
        RequestIdReused,
        RunInFlight,
        RunNotFound,
        RunRolledBack,
        StepNotFound,
        ThreadBusy,
        ThreadExists,
        ThreadNotFound,
        TooLarge,
        Unavailable,
    )
    from doubletext.worker import Worker

__all__ = [
    "AssistantExists",
    "AssistantNotFound",
    "Client",
    "Context",
    "DeadlineExceeded",
    "DoubletextError",
    "EventsTrimmed",
    "Graph",
    "InternalError",
    "InvalidField",
    "InvalidPageToken",
    "LeaseLost",
    "NotFound",
    "NotReady",
    "Overloaded",
    "QueueFull",
    "RequestIdReused",
    "RunInFlight",
    "RunNotFound",
    "RunRolledBack",
    "StepNotFound",
    "ThreadBusy",
    "ThreadExists",
    "ThreadNotFound",
    "TooLarge",
    "Unavailable",
    "Worker",
    "graph",
]

_HOME: Final = {"Client": "doubletext.client", "Worker": "doubletext.worker"}
"""The modules of the names that are imported when they are first used; the other names are errors."""

if not TYPE_CHECKING:  # a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        """Import gRPC, or what a worker needs, when a program first uses it: a graph's file needs neither."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(_HOME.get(name, "doubletext.errors")), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
