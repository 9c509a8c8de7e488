"""What happens when a second message arrives on a conversation while the first is still being answered.

`Client` talks to the service; `graph` writes what it runs; `Worker` runs it in a process of your own.
"""

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
from doubletext.graph import Context, Graph, graph
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
