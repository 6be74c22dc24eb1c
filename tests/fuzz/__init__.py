"""Fuzzing both sides of the balancer with atheris: ``python -m tests.fuzz --seconds 60``.

What is looked for is no crash alone: every input must keep the promises that tests/test_promises_unambiguous.py makes too
(:mod:`.requests` and :mod:`.responses`). Nothing here imports lbproxy at once: it must be imported while atheris looks on.
"""
