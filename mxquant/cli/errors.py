"""How a command ends early, other than by the library's own errors."""

__all__ = ["Interrupted"]


class Interrupted(Exception):
    """Ctrl-C; the message tells what is left and how to go on."""
