"""Ids that the service gives to runs."""

import os
import time
from hashlib import blake2b
from typing import Final

THREAD_BITS: Final = 16


def run_id(thread_id: str) -> str:
    """A new UUIDv7 (RFC 9562, section 5.7) that says in its last 16 bits which threads its run may be on.

    The 48 bits of milliseconds are followed by 12 of their fraction, which is the RFC's method 3, and by 46 at random.
    Who has the id alone, one of several servers say, can tell where to look; ids from before have no such bits, and
    are looked up.
    """
    now = time.time_ns()
    milliseconds, rest = divmod(now, 1_000_000)
    number = (milliseconds << 80) | (7 << 76) | ((rest * 4096 // 1_000_000) << 64) | (2 << 62)
    number |= (int.from_bytes(os.urandom(6)) >> 2) << THREAD_BITS | thread_bits(thread_id)
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def thread_bits(thread_id: str) -> int:
    """The 16 bits that stand for a thread, the same in every process."""
    return int.from_bytes(blake2b(thread_id.encode(errors="surrogatepass"), digest_size=THREAD_BITS // 8).digest())
