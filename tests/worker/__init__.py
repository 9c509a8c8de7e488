"""Workers: the protocol with raw stubs, the Python worker, takeovers among processes; a checker of what is on disk."""
