"""Who is compared, and how each is configured. Standard library only: it also runs where a peer's venv runs."""

from typing import Final, NamedTuple


class Entry(NamedTuple):
    """A system: its module among `systems`, where it is installed, and what the page says of it.

    home        its folder below .bench, and the name of its lock; empty for what is installed already
    packages    the Python packages whose versions are told
    binary      a program in its home whose version is told, with the words to ask for it
    configured  one sentence
    page        the page of its docs that this follows
    composed    strategies that are no single call, and made of several as its docs show or allow
    """

    name: str
    title: str
    home: str
    packages: tuple[str, ...]
    configured: str
    page: str
    binary: tuple[str, ...] = ()
    composed: frozenset[str] = frozenset()


DBOS_QUEUES: Final = "https://docs.dbos.dev/python/tutorials/queue-tutorial"

SYSTEMS: Final = (
    Entry(
        "doubletext",
        "doubletext",
        "",
        ("doubletext", "grpcio"),
        "`doubletext serve` with the task as a graph in its process, over gRPC with its Python client.",
        "README.md",
    ),
    Entry(
        "langgraph",
        "LangGraph",
        "langgraph",
        ("langgraph-cli", "langgraph-api", "langgraph-runtime-inmem", "langgraph-sdk"),
        "`langgraph dev --no-browser --no-reload --allow-blocking --n-jobs-per-worker 10`, which writes its state to "
        "files every ten seconds, tracing and analytics off; over HTTP with its Python SDK and `multitask_strategy`.",
        "https://docs.langchain.com/langsmith/double-texting",
    ),
    Entry(
        "dbos",
        "DBOS",
        "dbos",
        ("dbos",),
        "an app with it as a library behind a socket, its system database on SQLite; enqueue: one queue partitioned by "
        "thread with a concurrency of 1, polled once a second as by default; reject: another queue with the thread as "
        "deduplication id; interrupt: cancel, then enqueue.",
        DBOS_QUEUES,
        composed=frozenset({"interrupt"}),
    ),
    Entry(
        "dbos_polling_faster",
        "DBOS, polling each 0.1 s",
        "dbos",
        ("dbos",),
        "as before, with `polling_interval_sec=0.1` for the queues and for joining.",
        DBOS_QUEUES,
        composed=frozenset({"interrupt"}),
    ),
    Entry(
        "restate",
        "Restate",
        "restate",
        ("restate-sdk", "hypercorn"),
        "`restate-server` from npm and one process of services on Hypercorn, over the HTTP ingress; enqueue: an "
        "exclusive handler of a virtual object for each thread; interrupt: a virtual object that cancels the running "
        "task, attaches to it until it has ended, and sends the next.",
        "https://docs.restate.dev/ai/patterns/interrupt-regenerate",
        ("node_modules/.bin/restate-server", "--version"),
        composed=frozenset({"interrupt"}),
    ),
    Entry(
        "temporal",
        "Temporal",
        "temporal",
        ("temporalio",),
        "`temporal server start-dev --headless --db-filename FILE` and one Python worker; enqueue: signal-with-start "
        "of a workflow for each thread that takes its signals in turn; reject and interrupt: the conflict policies "
        "FAIL and TERMINATE_EXISTING of a workflow named by its thread.",
        "https://docs.temporal.io/workflow-execution/workflowid-runid",
        ("go/temporal", "--version"),
    ),
)
