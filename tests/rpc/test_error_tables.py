"""The reasons of errors, in all the places that list them: errors.proto is the list, the others must agree with it."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

from doubletext.errors import CLASS_OF, DoubletextError
from doubletext.v1 import errors_pb2
from doubletext_server.grpc.errors import STATUS_OF
from doubletext_statemachine.errors import Refusal
from doubletext_statemachine.words import LeaseCause, Reason
from tests.support.reasons import IN_THE_PROTOS, PROTOS, quoted, rows

REASONS: Final = {name.removeprefix("ERROR_REASON_") for name, _ in errors_pb2.ErrorReason.items()} - {"UNSPECIFIED"}
NOT_OF_THE_DOMAIN: Final = {"INTERNAL"}
"""Given for an exception that nobody expected."""
GIVEN_FOR_TWO_REFUSALS: Final = {"THREAD_BUSY"}
"""ThreadInFlight is ThreadBusy with another code."""


def kinds_of_refusal(kind: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    for child in kind.__subclasses__():
        yield child
        yield from kinds_of_refusal(child)


def as_reason(kind: type[Exception]) -> str:
    """The reason that a class is named after: THREAD_BUSY of ThreadBusy."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).upper()


def test_every_reason_says_its_codes_and_its_metadata() -> None:
    assert set(IN_THE_PROTOS) == REASONS


def test_every_refusal_has_a_status_and_nothing_else_has() -> None:
    assert set(STATUS_OF) == set(kinds_of_refusal())


def test_every_reason_is_given_for_the_refusal_of_its_name() -> None:
    given = Counter(reason for _, reason in STATUS_OF.values())
    assert given == Counter([*(REASONS - NOT_OF_THE_DOMAIN), *GIVEN_FOR_TWO_REFUSALS])
    elsewhere = {kind.__name__: reason for kind, (_, reason) in STATUS_OF.items() if as_reason(kind) != reason}
    assert elsewhere == {"ThreadInFlight": "THREAD_BUSY"}


def test_every_reason_comes_with_the_codes_that_the_protos_say() -> None:
    codes: dict[str, set[str]] = {"INTERNAL": {"INTERNAL"}}
    for code, reason in STATUS_OF.values():
        codes.setdefault(reason, set()).add(code.name)
    assert codes == {reason: written.codes for reason, written in IN_THE_PROTOS.items()}


def test_every_reason_has_the_exception_of_its_name_in_the_client() -> None:
    assert set(CLASS_OF) == REASONS
    assert DoubletextError not in CLASS_OF.values()
    elsewhere = {reason: kind.__name__ for reason, kind in CLASS_OF.items() if as_reason(kind) != reason}
    assert elsewhere == {"INTERNAL": "InternalError"}


def test_every_reason_has_a_row_in_the_docs() -> None:
    table = list(rows("Reasons of errors"))
    assert [row[0] for row in table] == [f"`{reason}`" for reason in IN_THE_PROTOS]
    for row, written, reason in zip(table, IN_THE_PROTOS.values(), IN_THE_PROTOS, strict=True):
        _, codes, when, metadata, what_to_do, kind = row
        assert (quoted(codes), quoted(metadata)) == written, reason
        assert kind == f"`{CLASS_OF[reason].__name__}`"
        assert when.endswith(".")
        assert what_to_do.endswith(".")


@pytest.mark.parametrize(("heading", "words"), [("Reasons of runs", Reason), ("Causes of a lost lease", LeaseCause)])
def test_every_reason_of_a_run_and_cause_of_a_lost_lease_has_a_row_in_the_docs(
    heading: str, words: type[Reason] | type[LeaseCause]
) -> None:
    assert [name for name, *_ in rows(heading)] == [f"`{word.value}`" for word in words]


def comments_on_calls() -> str:
    """All comments of the protos but those on the reasons themselves."""
    texts = (path.read_text("utf-8") for path in PROTOS.glob("*.proto") if path.name != "errors.proto")
    return "\n".join(line.partition("//")[2] for text in texts for line in text.splitlines())


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_stands_in_the_comment_of_a_call(reason: str) -> None:
    assert reason in re.findall(r"\w+", comments_on_calls())
