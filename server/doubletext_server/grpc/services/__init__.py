"""One servicer for each service of the protos: reads the request, asks the store, words the answer."""
