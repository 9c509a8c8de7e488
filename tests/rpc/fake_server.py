"""A server that answers the Python client as a test says, and notes what it was sent."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from doubletext import Client
from tests.support.rpcs import METHODS


@dataclass
class Throwaway:
    """Answers every call of ours with an empty message, once the failures are used up."""

    client: Client
    failures: list[Status]
    requests: list[Any] = field(default_factory=list)
    time_remaining: list[float | None] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return len(self.requests)


class Answering(grpc.GenericRpcHandler):
    throwaway: Throwaway

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = METHODS[handler_call_details.method.rpartition("/")[2]]
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        return grpc.unary_unary_rpc_method_handler(
            self.answer(response), request.FromString, lambda message: message.SerializeToString()
        )

    def answer(self, response: type[Any]) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            self.throwaway.requests.append(request)
            self.throwaway.time_remaining.append(context.time_remaining())
            if self.throwaway.failures:
                await context.abort_with_status(rpc_status.to_status(self.throwaway.failures.pop(0)))
            return response()

        return answer


@asynccontextmanager
async def throwaway(failures: Sequence[Status] = (), retry_for: float = 0) -> AsyncIterator[Throwaway]:
    server, handler = grpc.aio.server(), Answering()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with Client(f"127.0.0.1:{port}", retry_for=retry_for) as client:
        handler.throwaway = Throwaway(client, list(failures))
        yield handler.throwaway
    await server.stop(None)


def status(
    code: str, reason: str = "", metadata: dict[str, str] | None = None, *rest: Any, domain: str = "doubletext"
) -> Status:
    """A google.rpc.Status as the service makes it; without a reason, as a proxy would."""
    made = Status(code=grpc.StatusCode[code].value[0], message=f"{code} it is")
    details = [error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata), *rest] if reason else []
    for detail in details:
        made.details.add().Pack(detail)
    return made


async def all_of(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]
