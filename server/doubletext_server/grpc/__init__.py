"""The gRPC face: requests to domain values, answers and refusals to messages."""
