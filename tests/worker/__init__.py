"""Workers: the protocol with raw stubs, the Python worker, and takeovers among processes."""
