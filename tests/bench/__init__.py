"""The benchmark: this service beside a bare gRPC echo server, measured in one run. `scripts/bench` starts it."""
