"""The cluster that a command works on, if it is told of one."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional

from mxquant.cli.files import the_file
from mxquant.cli.options import option
from mxquant.errors import ClusterError, InputError

if TYPE_CHECKING:
    from mxquant.cli.examples import Data
    from mxquant.datasets import Dataset

__all__ = ["ClusterOptions", "dataset_of"]

_PANEL = "Data"


@dataclass(frozen=True)
class ClusterOptions:
    """Where forward passes run."""

    scheduler: Optional[str] = field(
        default=None,
        metadata=option(
            "--scheduler",
            metavar="tcp|tls://HOST:PORT",
            help="Let the workers of this Dask cluster do it; they find --data by the same path or URL. Whoever can "
            "talk to a scheduler can run code on it, and it on you: name one that you trust.",
            panel=_PANEL,
        ),
    )
    tls_ca_file: Optional[Path] = field(
        default=None,
        metadata=option(
            "--tls-ca-file",
            metavar="FILE",
            help="For tls://: certificate of the cluster's authority. Default, as of the next two: Dask's settings.",
            panel=_PANEL,
            reads=the_file,
        ),
    )
    tls_cert: Optional[Path] = field(
        default=None,
        metadata=option(
            "--tls-cert", metavar="FILE", help="For tls://: your certificate.", panel=_PANEL, reads=the_file
        ),
    )
    tls_key: Optional[Path] = field(
        default=None,
        metadata=option(
            "--tls-key",
            metavar="FILE",
            help="For tls://: its key, if it is not in the file of --tls-cert.",
            panel=_PANEL,
            reads=the_file,
        ),
    )

    def precheck(self) -> None:
        """Look at the address and the files for TLS, before anything is loaded.

        Raises
        ------
        InputError
            If Dask is not installed, or the address or a file for TLS is none.
        """
        if self.scheduler is not None:
            with self._blamed():
                from mxquant.distributed.connection import checked

                checked(self.scheduler, **self._files)
            return
        for name, value in self._files.items():
            if value is not None:
                raise InputError(f"--{name.replace('_', '-')} is for --scheduler tls://HOST:PORT, which is missing")

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Connect to the cluster; without one, give None.

        Raises
        ------
        InputError
            If the address or a file for TLS is none any more; see :meth:`precheck`.
        ClusterError
            If no scheduler answers.
        """
        if self.scheduler is None:
            yield None
            return
        with self._blamed():
            from mxquant.distributed.connection import connect

            client = connect(self.scheduler, tls_ca_file=self.tls_ca_file, tls_cert=self.tls_cert, tls_key=self.tls_key)
        with client:
            yield client

    @property
    def _files(self) -> Dict[str, Optional[Path]]:
        return {"tls_ca_file": self.tls_ca_file, "tls_cert": self.tls_cert, "tls_key": self.tls_key}

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Name the option in what is raised; the body is run where Dask is."""
        try:
            import_module("distributed")
        except ImportError as error:
            raise InputError(f"--scheduler: {error}; pip install 'mxquant[dask]'") from error
        try:
            yield
        except (InputError, ClusterError) as error:
            raise type(error)(f"--scheduler: {error}") from error


def dataset_of(data: Data) -> Dataset:
    """Return data as a data set; raise InputError where they are none."""
    if data.dataset is None:
        raise InputError(f"--scheduler: workers read files, but --data is the function '{data.title}'")
    return data.dataset()
