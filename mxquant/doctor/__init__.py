"""The doctor: whether an int8 network can be trusted, what each layer has lost and why, and what would help.

:func:`diagnose` looks; the :class:`Diagnosis` that it returns can be read, and written as one HTML page.
"""

from mxquant.doctor.diagnosis import Diagnosis
from mxquant.doctor.examination import diagnose

__all__ = ["Diagnosis", "diagnose"]
