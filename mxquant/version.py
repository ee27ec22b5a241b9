"""The version of mxquant; setup.py reads it as text."""

__all__ = ["__version__"]

__version__ = "0.1.0"
