"""Hang-ups: calls that are cancelled or run out of time at each moment of their lives, and a drain among them."""
