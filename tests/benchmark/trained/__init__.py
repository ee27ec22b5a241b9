"""Trained networks of PyPI packages, which nobody tuned mxquant to."""
