"""What the transport lets a peer do. See https://github.com/grpc/grpc/blob/master/include/grpc/impl/channel_arg_names.h."""

from typing import Any, Final

LARGEST_MESSAGE: Final = (5 * 1024 + 64) * 1024
"""Bytes of a request that are read at most. The edge refuses less than that, and says why."""
PENDING_CALLS: Final = 1_000_000
CONNECTIONS: Final = 10_000
HANDSHAKE_MS: Final = 10_000
LEAST_PING_INTERVAL_MS: Final = 5_000
PING_AFTER_MS: Final = 10_000
PING_TIMEOUT_MS: Final = 20_000
CONNECTION_AGE_MS: Final = 3_600_000
"""A connection that is so old takes no more calls. Those under way have as long again, then they end UNAVAILABLE. So a
peer that reads nothing and answers pings is got rid of, and others connect anew."""


def transport_options(streams: int) -> list[tuple[str, Any]]:
    """Options for the server. `streams`: how many calls one connection may have at once."""
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
        # off does not. A client that is only busy for some seconds must not lose its calls for that.
        ("grpc.keepalive_time_ms", PING_AFTER_MS),
        ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
        ("grpc.max_concurrent_streams", streams),
        # gRPC would refuse calls of a client that keeps to the limit, since it counts those that have just ended too:
        # an eighth of the calls of 256 callers on one connection failed.
        ("grpc.http.overload_protection", 0),
        ("grpc.max_connection_age_ms", CONNECTION_AGE_MS),
        ("grpc.max_connection_age_grace_ms", CONNECTION_AGE_MS),
    ]
