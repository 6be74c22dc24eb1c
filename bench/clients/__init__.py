"""Clients for what wrk cannot do: each runs as ``python -m bench.clients.NAME`` and stops by itself."""
