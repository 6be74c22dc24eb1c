"""Measures lbproxy and other balancers side by side on loopback: ``python -m bench``, from the checkout."""
