"""Calibration: the fp32 network runs on data, and every tensor of interest is counted."""

from mxquant.calibration.collecting import calibrate, collect, observed_tensors, statistics_of, warn_of_outliers

__all__ = ["calibrate", "collect", "observed_tensors", "statistics_of", "warn_of_outliers"]
