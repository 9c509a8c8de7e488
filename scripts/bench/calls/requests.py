"""What the calls have in common: how they look to the load process, and the requests they make."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias
from uuid import uuid4

import grpc

from doubletext.structs import to_struct
from doubletext.v1 import assistant_service_pb2 as assistants_pb
from doubletext.v1 import resources_pb2 as resources
from doubletext.v1 import run_service_pb2 as runs_pb
from doubletext.v1.assistant_service_pb2_grpc import AssistantServiceStub

Call: TypeAlias = Callable[[], Awaitable[object]]
Note: TypeAlias = Callable[[str, float], None]

QUESTION: Final = to_struct({"messages": [{"role": "user", "content": "What's the weather in San Francisco today?"}]})
NOBODYS: Final = "nobodys"
"""A graph that nobody executes: its runs stay pending, so that accepting them is all that is measured."""


def new_run(thread_id: str, assistant_id: str = NOBODYS, **more: Any) -> runs_pb.CreateRunRequest:
    return runs_pb.CreateRunRequest(
        thread_id=thread_id,
        assistant_id=assistant_id,
        input=QUESTION,
        if_thread_not_exists=resources.IF_THREAD_NOT_EXISTS_CREATE,
        **more,
    )


async def make_assistant(channel: grpc.aio.Channel, name: str = NOBODYS, **more: Any) -> None:
    request = assistants_pb.CreateAssistantRequest(assistant_id=name, graph=name, **more)
    stub: Any = AssistantServiceStub(channel)
    try:
        await stub.CreateAssistant(request)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise


class Names:
    """Names of threads that no one has had before."""

    def __init__(self) -> None:
        self._own = uuid4().hex[:12]
        self._last = 0

    def next(self) -> str:
        self._last += 1
        return f"{self._own}-{self._last}"
