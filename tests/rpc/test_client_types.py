"""What the Python client is made of: its types have the keys and names of the protos, and no server comes along."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final, get_args

import pytest

from doubletext import convert, types
from doubletext.v1 import resources_pb2 as pb
from doubletext.v1 import run_service_pb2 as rpb


@pytest.mark.parametrize("package", ["doubletext_server", "doubletext_statemachine"])
def test_the_client_brings_nothing_of_the_server_along(package: str) -> None:
    code = f"import doubletext, sys; sys.exit(any(name.split('.')[0] == {package!r} for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


MESSAGES: Final[dict[Any, Any]] = {
    types.Thread: pb.Thread,
    types.Run: pb.Run,
    types.RunError: pb.RunError,
    types.State: pb.State,
    types.Assistant: pb.Assistant,
    types.Joined: rpb.JoinRunResponse,
}


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_each_type_has_the_keys_of_its_message(kind: Any) -> None:
    """But for the text forms of the objects, which the client turns into values."""
    named = {field.name for field in MESSAGES[kind].DESCRIPTOR.fields}
    assert set(kind.__annotations__) == {name for name in named if name.removesuffix("_json") not in named - {name}}


def test_what_create_returns_is_a_run_and_what_it_ended() -> None:
    added = set(types.CreatedRun.__annotations__) - set(types.Run.__annotations__)
    assert added | {"run"} == {field.name for field in rpb.CreateRunResponse.DESCRIPTOR.fields}


CONVERTED: Final[dict[Any, Callable[[Any], Any]]] = {
    types.Thread: convert.thread,
    types.Run: convert.run,
    types.State: convert.state,
    types.Assistant: convert.assistant,
}


@pytest.mark.parametrize("kind", CONVERTED, ids=lambda kind: kind.__name__)
def test_what_is_returned_has_every_key_even_of_an_empty_message(kind: Any) -> None:
    assert set(CONVERTED[kind](MESSAGES[kind]())) == set(kind.__annotations__)


def names(prefix: str, numbers: Any, *, unspecified: bool = False) -> set[str]:
    found = {name.removeprefix(f"{prefix}_").lower() for name in numbers.keys()}  # noqa: SIM118 - no mapping
    return found if unspecified else found - {"unspecified"}


def test_the_names_in_the_types_are_those_of_the_enums() -> None:
    assert set(get_args(types.MultitaskStrategy)) == names("MULTITASK_STRATEGY", pb.MultitaskStrategy)
    assert set(get_args(types.DefaultStrategy)) == names("MULTITASK_STRATEGY", pb.MultitaskStrategy, unspecified=True)
    assert set(get_args(types.RunStatus)) == names("RUN_STATUS", pb.RunStatus)
    assert set(get_args(types.ThreadStatus)) == names("THREAD_STATUS", pb.ThreadStatus)
    assert set(get_args(types.Reducer)) == names("REDUCER", pb.Reducer)
    assert set(get_args(types.IfThreadNotExists)) == names("IF_THREAD_NOT_EXISTS", pb.IfThreadNotExists)
    assert set(get_args(types.CancelAction)) == names("CANCEL_ACTION", pb.CancelAction)
