"""Digests, by which contents are compared."""

import hashlib


def digest(*parts: object) -> str:
    """Return the digest of the parts. Digests are stored to recognise repeated calls, so this must not change."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
