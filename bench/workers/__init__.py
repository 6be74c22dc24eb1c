"""``python -m bench workers``: what several workers cost and bring, how connections spread over them, how fast they agree."""
