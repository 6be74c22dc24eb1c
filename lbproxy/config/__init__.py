"""The whole of what an operator says, as one value: from a file, from options, or made in Python."""
