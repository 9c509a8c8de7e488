"""Workers: the protocol with raw stubs, the Python worker, takeovers among processes, and a soak under a checker."""
