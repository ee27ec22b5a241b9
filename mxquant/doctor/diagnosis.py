"""What the doctor returns: its findings, which can be written as a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Union

from mxquant.doctor.findings import Findings
from mxquant.doctor.page import page
from mxquant.files.replacing import write_text

__all__ = ["Diagnosis"]


@dataclass(frozen=True)
class Diagnosis(Findings):
    """The findings of a whole network; see :class:`~mxquant.doctor.findings.Findings`."""

    def html(self) -> str:
        """Return the page; raise InputError where plotly or jinja2 is missing."""
        return page(self)

    def save(self, path: Union[str, Path]) -> None:
        """Write the page.

        Parameters
        ----------
        path : str or Path
            The file, usually ending in .html; replaced if it exists.

        Raises
        ------
        InputError
            If plotly or jinja2 is missing.
        OutputError
            If it cannot be written; it appears whole or not at all.
        """
        write_text(path, self.html())
