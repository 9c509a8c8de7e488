"""What happens when a second message arrives on a conversation while the first is still being answered.

`Client` calls the service. `graph` makes a function into a graph, which the service executes. `Worker` executes graphs
in a process of your own.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

# `graph` is imported at once and not on first use: the module has the same name, and the last import would win.
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
        RevisionChanged,
        RunChanged,
        RunInFlight,
        RunNotFound,
        RunRolledBack,
        RunStarted,
        StepNotFound,
        ThreadBusy,
        ThreadExists,
        ThreadNotFound,
        TooLarge,
        Unavailable,
        ValueNotExact,
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
    "RevisionChanged",
    "RunChanged",
    "RunInFlight",
    "RunNotFound",
    "RunRolledBack",
    "RunStarted",
    "StepNotFound",
    "ThreadBusy",
    "ThreadExists",
    "ThreadNotFound",
    "TooLarge",
    "Unavailable",
    "ValueNotExact",
    "Worker",
    "graph",
]

_HOME: Final = {"Client": "doubletext.client", "Worker": "doubletext.worker"}
"""The modules of names that are imported on first use. All other such names are in doubletext.errors."""

if not TYPE_CHECKING:  # with it, a type checker would accept any name

    def __getattr__(name: str) -> Any:
        """Import the name on first use. A file with a graph then imports neither gRPC nor what a worker needs."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(_HOME.get(name, "doubletext.errors")), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
