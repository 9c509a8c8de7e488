"""The ids of runs: valid UUIDv7, in the order of time, with the bits of their thread."""

import time
import uuid

from doubletext_server.ids import THREAD_BITS, run_id, thread_bits


def test_a_run_id_is_a_uuid7_of_now() -> None:
    before = time.time_ns() // 1_000_000
    text = run_id("t")
    after = time.time_ns() // 1_000_000
    found = uuid.UUID(text)
    assert str(found) == text
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert before <= found.int >> 80 <= after


def test_its_last_bits_are_those_of_its_thread_and_the_same_everywhere() -> None:
    for thread_id in ("t", "another", "x" * 128):
        assert uuid.UUID(run_id(thread_id)).int % 2**THREAD_BITS == thread_bits(thread_id)
    assert thread_bits("t") == 0xAEF8
    assert len({thread_bits(f"t{number}") for number in range(1000)}) > 900


def test_ids_are_not_given_twice_and_come_in_order() -> None:
    made = [run_id("t") for _ in range(10_000)]
    assert len(set(made)) == len(made)
    moments = [uuid.UUID(text).int >> 64 for text in made]
    assert moments == sorted(moments)
