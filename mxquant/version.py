"""The version of mxquant, in one place."""

__version__ = "0.1.0"

__all__ = ["__version__"]
