"""Requests that no client would send, over a connection of our own making. The server must answer and go on serving."""
