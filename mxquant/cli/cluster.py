"""The cluster that a command works on, if it is told of one."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Iterator, Optional

from mxquant.cli.options import option
from mxquant.errors import ClusterError, InputError

if TYPE_CHECKING:
    from mxquant.cli.examples import Data
    from mxquant.datasets import Dataset

__all__ = ["ClusterOptions", "dataset_of"]

_SECONDS = 10


@dataclass(frozen=True)
class ClusterOptions:
    """Where forward passes run."""

    scheduler: Optional[str] = field(
        default=None,
        metadata=option(
            "--scheduler",
            metavar="tcp://HOST:PORT",
            help="Let the workers of this Dask cluster do it; they find --data by the same path or URL.",
            panel="Data",
        ),
    )

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Connect to the cluster; without one, give None.

        Raises
        ------
        InputError
            If Dask is not installed, or the address is none.
        ClusterError
            If no scheduler answers.
        """
        if self.scheduler is None:
            yield None
            return
        try:
            distributed: Any = import_module("distributed")
        except ImportError as error:
            raise InputError(f"--scheduler: {error}; pip install 'mxquant[dask]'") from error
        try:
            client = distributed.Client(self.scheduler, timeout=_SECONDS, set_as_default=False)
        except (OSError, distributed.TimeoutError) as error:
            raise ClusterError(f"--scheduler: nobody answers at '{self.scheduler}' within {_SECONDS} s") from error
        except (ValueError, TypeError) as error:
            raise InputError(f"--scheduler is '{self.scheduler}', expected tcp://HOST:PORT: {error}") from error
        with client:
            yield client


def dataset_of(data: Data) -> Dataset:
    """Return data as a data set; raise InputError where they are none."""
    if data.dataset is None:
        raise InputError(f"--scheduler: workers read files, but --data is the function '{data.title}'")
    return data.dataset()
