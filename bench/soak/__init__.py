"""``python -m bench soak``: several workers under a mixed load, with reloads and killed workers: nothing is lost but what a killed
one had in hand, and memory stays level."""
