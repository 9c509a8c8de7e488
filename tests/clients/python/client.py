"""Calls through the stubs that are generated for Python, as far as importing and type checking go."""

import grpc

from doubletext.v1 import errors_pb2, run_service_pb2, run_service_pb2_grpc

BUSY = errors_pb2.ErrorReason.Name(errors_pb2.ERROR_REASON_THREAD_BUSY).removeprefix("ERROR_REASON_")


def create(channel: grpc.Channel) -> str:
    runs = run_service_pb2_grpc.RunServiceStub(channel)
    return runs.CreateRun(run_service_pb2.CreateRunRequest(thread_id="t", assistant_id="agent")).run.run_id
