"""Data sets in files, of which any part can be read by itself."""

from mxquant.datasets.arrays import ArrayFile
from mxquant.datasets.dataset import Dataset
from mxquant.datasets.images import ImageFiles
from mxquant.datasets.preprocessing import Preprocessing
from mxquant.datasets.records import RecordFile

__all__ = ["ArrayFile", "Dataset", "ImageFiles", "Preprocessing", "RecordFile"]
