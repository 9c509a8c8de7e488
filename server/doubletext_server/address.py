"""Addresses of the form HOST:PORT, and the errors about an address that the server cannot listen on."""

import re


class CannotListen(Exception):
    """The server cannot listen on the address. The message says why, and what to do."""


def host_and_port(address: str) -> tuple[str, int]:
    """Split HOST:PORT into its parts. Raises CannotListen for a text of another form."""
    host, _, port = address.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise CannotListen(f"cannot listen on {address}: HOST:PORT is wanted, as in 127.0.0.1:50051")
    return host, int(port)


def taken(address: str, option: str) -> CannotListen:
    return CannotListen(
        f"cannot listen on {address}: the port is taken, or the host is not this machine's; "
        f"choose another {option} HOST:PORT"
    )
