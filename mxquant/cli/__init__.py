"""The command ``mxquant``: quantize, judge and export networks from a shell.

Every command is a function of frozen dataclasses, whose fields are its options; see :mod:`mxquant.cli.command`. What a
user reads goes to standard output, what a machine reads (``--json``) too and nothing else then; progress and logs go to
standard error.

=========  =========================================================================================
exit code  when
=========  =========================================================================================
0          done
1          done, but what ``--require`` or ``--max-drop`` asks for is not reached; files are written
2          options, files or data are not what they have to be: one sentence tells which
3          something that should not happen; ``--debug`` shows where
130        interrupted by Ctrl-C; no file is half-written, and a sentence tells how to go on
141        nobody reads what it prints any more, as behind ``mxquant ... | head``: no error, and not a word
=========  =========================================================================================

A document of ``--json`` is one object with ``command`` and ``mxquant`` (its version); what else is in it is stated at
the head of the command's module. Numbers that are not finite are the texts 'inf', '-inf' and 'nan'.
"""

from mxquant.cli.running import main

__all__ = ["main"]
