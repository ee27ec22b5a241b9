"""The entropy search under the names and in the forms that ``mxnet.contrib.quantization`` has had.

MXNet 1.7 to 1.9.1 take a histogram on a linear grid, a tuple (counts, edges, smallest, largest, th), and the type of
the codes; 1.3 takes values. Both are told apart by the first argument. The search is
:func:`mxquant.thresholds.entropy.entropy_search`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Tuple, Union

import numpy as np

from mxquant.errors import InputError
from mxquant.shown import printable
from mxquant.thresholds.entropy import SIGNED_BINS, entropy_search
from mxquant.thresholds.entropy import _get_optimal_threshold as _of_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__: List[str] = []

_NUM_BINS = 8001
_DTYPES = ("int8", "uint8", "auto")
_FIELDS = 5


def _get_optimal_threshold(
    hist_data: Any = None,
    quantized_dtype: Union[str, int] = "auto",
    num_quantized_bins: int = SIGNED_BINS,
    **other: Any,
) -> Tuple[Any, Any, Any, Any]:
    """Find the entropy threshold of a histogram, as MXNet 1.9.1 has it, or of values, as MXNet 1.3 had it.

    Parameters
    ----------
    hist_data : tuple, or NDArray, numpy.ndarray or a list of them
        (counts, edges, smallest value, largest value, th) with an odd number of bins over [-th, th]; or the values.
    quantized_dtype : {'int8', 'uint8', 'auto'}, or int
        Of a histogram: the type of the codes; where no value is negative, 'uint8' and 'auto' have twice as many. Of
        values: `num_bins`.
    num_quantized_bins : int
        Number of quantized bins of int8; odd.
    **other
        The names of 1.3: `arr` for the values, `num_bins` for the bins of their histogram.

    Returns
    -------
    tuple
        Of a histogram: its smallest and largest value, the threshold and the divergence, both of shape (1,). Of values:
        smallest, largest, divergence, threshold.

    Raises
    ------
    InputError
        If it is no such histogram, or an argument is not what it has to be.
    TypeError
        If the values are something else, or there are other arguments.
    """
    values = other.pop("arr", None)
    num_bins = other.pop("num_bins", quantized_dtype if isinstance(quantized_dtype, int) else _NUM_BINS)
    if other:
        raise TypeError(f"_get_optimal_threshold() got an unexpected argument '{next(iter(other))}'")
    if values is not None or not isinstance(hist_data, tuple):
        return _of_values(hist_data if values is None else values, num_bins, num_quantized_bins)
    if quantized_dtype not in _DTYPES:
        raise InputError(f"quantized_dtype is {quantized_dtype!r}, expected one of {', '.join(map(repr, _DTYPES))}")
    if len(hist_data) != _FIELDS:
        raise InputError(
            f"hist_data has {len(hist_data)} parts, expected 5: counts, edges, smallest value, largest value, th"
        )
    counts, edges, smallest, largest, _ = hist_data
    bins = 2 * num_quantized_bins + 1 if _is_unsigned(smallest, quantized_dtype) else num_quantized_bins
    found = entropy_search(_array(counts), _array(edges), bins)
    return smallest, largest, np.array([found.threshold], np.float32), np.array([found.divergence], np.float32)


def _get_optimal_thresholds(
    hist_dict: Mapping[str, Any], quantized_dtype: str, num_quantized_bins: int = SIGNED_BINS, logger: Any = None
) -> Dict[str, Tuple[float, float]]:
    """Find the entropy thresholds of histograms by name.

    Parameters
    ----------
    hist_dict : dict of str to tuple
        Histograms, as ``_LayerHistogramCollector.hist_dict`` has them.
    quantized_dtype : {'int8', 'uint8', 'auto'}
        The type of the codes.
    num_quantized_bins : int
        Number of quantized bins of int8; odd.
    logger : logging.Logger, optional
        Told what was found.

    Returns
    -------
    dict of str to tuple of float
        Smallest and largest number that codes represent: (-threshold, threshold), or (0, threshold) for unsigned codes.
        Unlike MXNet's, this function leaves `hist_dict` as it is.

    Raises
    ------
    InputError
        If a histogram is none.
    """
    found: Dict[str, Tuple[float, float]] = {}
    for name, hist_data in hist_dict.items():
        if not isinstance(hist_data, tuple):
            raise InputError(f"hist_dict['{name}'] is {type(hist_data).__name__}, expected a tuple of a histogram")
        smallest, largest, threshold, divergence = _get_optimal_threshold(
            hist_data, quantized_dtype, num_quantized_bins
        )
        end = float(threshold[0])
        found[name] = (0.0 if _is_unsigned(smallest, quantized_dtype) else -end, end)
        if logger:
            logger.debug(
                "%s: from %g to %g, threshold %g, divergence %g",
                *(printable(name), smallest, largest, end, divergence[0]),
            )
    return found


def _is_unsigned(smallest: Any, quantized_dtype: Any) -> bool:
    return bool(smallest >= 0) and quantized_dtype in ("auto", "uint8")


def _array(item: Any) -> NDArray[Any]:
    return np.asarray(item.asnumpy() if hasattr(item, "asnumpy") else item)
