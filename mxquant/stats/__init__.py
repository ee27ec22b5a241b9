"""What calibration sees of a network's tensors: histograms, who collects them, and the table that keeps them.

Knows no bit width, no target and no operator, and imports no MXNet; the run itself is
:mod:`mxquant.runtime.runner`.
"""

from __future__ import annotations

from mxquant.stats.collectors import Collector, HistogramCollector
from mxquant.stats.histogram import Histogram
from mxquant.stats.statistics import Statistics

__all__ = ["Collector", "Histogram", "HistogramCollector", "Statistics"]
