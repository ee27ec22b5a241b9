"""What a worker tells of a shard that it could not do."""

from __future__ import annotations

from mxquant.errors import CalibrationError, MXQuantError, NonFiniteError

__all__ = ["ShardFailure", "named"]


class ShardFailure(Exception):
    """A shard failed on a worker.

    Parameters
    ----------
    worker : str
        Its address.
    error : MXQuantError
        What went wrong.
    again : bool
        Whether it may go better on another worker, as reading may.
    """

    def __init__(self, worker: str, error: MXQuantError, again: bool) -> None:
        self.worker, self.error, self.again = worker, error, again
        super().__init__(worker, error, again)


def named(shard: object, error: BaseException, more: str = "") -> MXQuantError:
    """Return an error that names the shard that it comes from, of the same class where that is one of mxquant's."""
    if isinstance(error, NonFiniteError):
        return NonFiniteError(error.tensor, error.count, error.size, f"{error.where} of {shard}")
    if isinstance(error, MXQuantError):
        return type(error)(f"{shard}: {error}{more}")
    return CalibrationError(f"{shard}: {type(error).__name__}: {error}{more}")
