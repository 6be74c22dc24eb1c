"""Upgrade without loss: the program that runs starts a new one, gives it all listening sockets, and drains when that one serves.

The two speak over a pair of Unix sockets, a line of JSON a message:

- the new one says ``pid`` as soon as it has the one that stays, ``error`` when it gives up, and ``ready`` when it serves;
- the old one answers that with ``yours``, and what operators have said meanwhile.

Until ``ready`` was said, the end of the link is the end of the attempt: the old one goes on.
"""
