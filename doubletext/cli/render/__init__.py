"""Show what the service answers on a terminal."""
