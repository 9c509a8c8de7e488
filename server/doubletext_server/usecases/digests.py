"""Digests, by which one content is told from another."""

import hashlib


def digest(*parts: object) -> str:
    """Digests are stored, to recognise a repeated call: a call's parts and their order must not change."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
