"""DBOS as before, its polls ten times as often as by default."""

from bench.peers.systems import dbos


class System(dbos.System):
    polling = 0.1
