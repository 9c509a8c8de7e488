"""What the transport lets a peer do. See https://github.com/grpc/grpc/blob/master/include/grpc/impl/channel_arg_names.h."""

from typing import Any, Final

LARGEST_MESSAGE: Final = (5 * 1024 + 64) * 1024
"""Bytes of a request that are read at most. The edge refuses less than that, and says why."""
PENDING_CALLS: Final = 1_000_000
CONNECTIONS: Final = 10_000
HANDSHAKE_MS: Final = 10_000
LEAST_PING_INTERVAL_MS: Final = 5_000


def transport_options(lease_us: int) -> list[tuple[str, Any]]:
    """Options for the server. `lease_us` is how long a lease lasts unless it is renewed, in microseconds."""
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", LARGEST_MESSAGE),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_allowed_incoming_connections", CONNECTIONS),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        # gRPC cancels some of the calls beyond 1000 that wait to be taken from the transport, at random and silently.
        # How many there may be is for the edge to say, with a reason: docs/decisions/0026.
        ("grpc.server.max_pending_requests", PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS),
        # A client may ping every ten seconds, which is a usual setting, with calls and without. By default it may every
        # five minutes.
        ("grpc.http2.min_ping_interval_without_data_ms", LEAST_PING_INTERVAL_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # An open WatchLease keeps its lease alive as long as its worker answers pings. A worker that is stopped or cut
        # off does not: its connection is closed before half a lease has passed.
        ("grpc.keepalive_time_ms", lease_us // 4000),
        ("grpc.http2.ping_timeout_ms", lease_us // 4000),
    ]
