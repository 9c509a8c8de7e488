"""One servicer for each service of the protos: a message in, a use case, a message out."""
