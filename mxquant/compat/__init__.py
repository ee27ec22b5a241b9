"""MXNet 1.9 on today's Python and NumPy: ``import mxquant.compat``, then ``import mxnet``.

MXNet's modules are given what they miss on Python 3.12 and later and on NumPy 1.24 to 2.x. Nothing else is changed:
NumPy and Python stay as they are for all other modules. MXNet itself is not imported by this.

A program that cannot change its imports is run as ``python -m mxquant.compat PROGRAM.py``, and
``python -m mxquant.compat --check`` says which features of MXNet work on this machine.

>>> import mxquant.compat
>>> import mxnet

Packages of MXNet's time that ask for the same names can be repaired too:

>>> mxquant.compat.repair("gluoncv")
"""

from mxquant.compat.finder import install, repair, while_importing

__all__ = ["install", "repair", "while_importing"]

install()
