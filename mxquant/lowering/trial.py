"""Operators that MXNet has on some CPUs only, tried on this one before a plan relies on them.

The one that is known is the int8 LSTM. Where oneDNN 2.4.4 finds AVX512-VNNI it takes another implementation of
recurrent layers, whose weights it cannot bring in order from the one in which MXNet keeps them; on ARM it has none.
There it is not tried: an operator of MXNet that raises may leave work behind for the next one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Optional

from mxquant.lowering import isa as levels
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import first_line

__all__ = ["lstm_failure", "lstm_failure_at", "no_lstm"]

_UNITS = 8
_WITHOUT_LSTM = ("vnni", "amx", "neon")


@lru_cache(maxsize=None)
def lstm_failure() -> Optional[str]:
    """Return why MXNet's int8 LSTM does not run on this CPU; None where it does."""
    here = levels.detect()
    what = f"MXNet's int8 LSTM does not run on CPUs of level '{here}'"
    if here in _WITHOUT_LSTM:
        return what
    state = mx.nd.zeros((1, 1, _UNITS))
    data, parameters = mx.nd.zeros((1, 1, _UNITS), dtype="uint8"), mx.nd.zeros(4 * _UNITS * (2 * _UNITS + 2))
    try:
        result = mx.nd.contrib.quantized_rnn(
            *(data, parameters, state, state, mx.nd.ones(1), mx.nd.zeros(1)),
            mode="lstm",
            num_layers=1,
            state_size=_UNITS,
        )
        result.wait_to_read()
    except mx.MXNetError as error:
        return f"{what}, as this one is: {first_line(error)}"
    return None


def lstm_failure_at(level: str) -> Optional[str]:
    """Return why MXNet's int8 LSTM does not run on CPUs of a level; None where it does. This machine's is tried."""
    if level == levels.detect():
        return lstm_failure()
    return f"MXNet's int8 LSTM does not run on CPUs of level '{level}'" if level in _WITHOUT_LSTM else None


def no_lstm(isa: str) -> Optional[str]:
    """Return why a plan for `isa` may have no int8 LSTM; None where it may.

    Parameters
    ----------
    isa : str
        A level of :mod:`mxquant.lowering.isa`, or 'portable'. That of this machine is tried, others are known.
    """
    if isa == levels.PORTABLE:
        why: Optional[str] = "MXNet's int8 LSTM does not run on every CPU, as the plan has to"
    else:
        why = lstm_failure_at(isa)
    return None if why is None else f"{why}; it stays float32, its parameters joined once"
