"""The command line: commands apart from how they show what comes. Only commands/serve.py knows the server."""
