"""Small balancers made with Twisted, each run as ``python -m bench.servers.NAME --port PORT HOST:PORT…``."""
