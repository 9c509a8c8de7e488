"""The command line: verbs for a person, over the client; `serve` alone knows the server."""
