"""Protobuf to the domain and back: `reading` turns requests into values, `writing` turns values into answers."""
