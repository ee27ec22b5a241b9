"""Calibration that Ctrl-C may interrupt, and that ``--resume`` goes on with.

What was counted lies in a file beside the output, ``*.partial*``, as ordinary statistics. It is gone after success.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Optional

from mxquant.cli.cluster import dataset_of
from mxquant.cli.errors import Interrupted
from mxquant.cli.options import option
from mxquant.errors import ClusterError, InputError
from mxquant.shown import logger

if TYPE_CHECKING:
    from mxquant.cli.cluster import ClusterOptions
    from mxquant.cli.examples import Data
    from mxquant.cli.network import Net
    from mxquant.cli.options import Common
    from mxquant.stats import Statistics

__all__ = ["CALIBRATION_EXAMPLES", "NONFINITE", "Nonfinite", "calibrated", "resumable"]

# How many examples a calibration takes where the user does not say: more change thresholds little.
CALIBRATION_EXAMPLES = 512


class Nonfinite(str, Enum):
    """What to do about NaN and infinities in a tensor."""

    RAISE = "raise"
    IGNORE = "ignore"


NONFINITE = option(
    "--nonfinite", help="Whether NaN and infinities in a tensor are an error, or left out of the statistics."
)
_log = logger(__name__)


@contextmanager
def resumable(partial: Path, resume: bool) -> Iterator[None]:
    """Refuse to overwrite what another run has left, and remove the file in the end.

    Ctrl-C becomes :class:`~mxquant.cli.errors.Interrupted`, which tells how to go on.

    Parameters
    ----------
    partial : Path
        The file that keeps what was counted.
    resume : bool
        Whether the user wants to go on from it.

    Raises
    ------
    InputError
        If the file is there, and the user does not want to go on from it.
    """
    if partial.exists() and not resume:
        raise InputError(
            f"'{partial}' is of a calibration that was interrupted; add --resume to go on from it, or delete it to "
            "begin anew"
        )
    if resume and not partial.exists():
        _log.warning("--resume: there is no '%s', so this begins anew", partial)
    fresh = not partial.exists()
    try:
        yield
    except KeyboardInterrupt:
        if not partial.exists():
            raise Interrupted("interrupted before anything was counted; nothing was written") from None
        from mxquant.stats import Statistics

        count = Statistics.load(partial).num_examples
        raise Interrupted(
            f"interrupted; '{partial}' keeps the calibration on {count} examples, and the same command with --resume "
            "goes on from there"
        ) from None
    except ClusterError as error:
        # What was counted is right, whatever the cluster did then.
        if partial.exists() and "--resume" not in str(error):
            raise ClusterError(f"{error}; '{partial}' is kept, and --resume goes on from there") from error
        raise
    except BaseException:
        # What is wrong may be the data, of which nothing can be told any more from what was counted.
        if fresh and partial.exists():
            partial.unlink()
        raise
    if partial.exists():
        partial.unlink()


def calibrated(
    net: Net,
    data: Data,
    partial: Path,
    target: Optional[str],
    nonfinite: Nonfinite,
    cluster: ClusterOptions,
    common: Common,
) -> Statistics:
    """Return statistics of a network on data, all or what the file `partial` does not hold yet."""
    from mxquant.pipeline import calibrate

    with cluster.client() as client:
        found = data if client is None else dataset_of(data)
        return calibrate(
            net.symbol,
            found,
            **net.params,
            num_calib_examples=data.count if client is None else _known(data, found),
            target=target,
            nonfinite=nonfinite.value,
            checkpoint=partial,
            progress=common.progress,
            client=client,
        )


def _known(data: Data, found: Any) -> int:
    """Return how many examples are used of a data set, which knows how many it has."""
    count = replace(data, known=len(found)).first(data.end if data.exact else None, data.end).count
    assert count is not None
    return count
