"""The gRPC face: it turns requests into values of the domain, and values and refusals into answers."""
