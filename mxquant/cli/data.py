"""The examples that a command works on: images, arrays, or what a function of the user's returns."""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

from mxquant.cli.examples import Data
from mxquant.cli.files import examples
from mxquant.cli.network import Net, NetworkOptions
from mxquant.cli.options import option
from mxquant.errors import InputError

if TYPE_CHECKING:
    from mxquant.datasets.preprocessing import Preprocessing

__all__ = ["DataOptions", "Layout", "Preset"]

_PANEL = "Data"
_FUNCTION = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")
_IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375), "scale": 1.0}
_PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "scale": 1.0}
_log = logging.getLogger(__name__)


class Layout(str, Enum):
    """How images lie in the network's input."""

    NCHW = "NCHW"
    NHWC = "NHWC"


class Preset(str, Enum):
    """Normalisations by name."""

    IMAGENET = "imagenet"


@dataclass(frozen=True)
class DataOptions:
    """Which examples, and how images are read."""

    data: str = field(
        metadata=option(
            "--data",
            "-d",
            metavar="PATH",
            help="A folder of images or of class folders (labels: their places in alphabetical order), a .rec file, "
            "a .npy or .npz array, preprocessed, the URL of one of these, or module:function, which is called, each "
            "time it is needed, for anything that mxquant.calibrate takes.",
            panel=_PANEL,
            reads=examples,
        )
    )
    num_examples: Optional[int] = field(
        default=None,
        metadata=option(
            "--num-examples",
            "-n",
            metavar="N",
            min=1,
            help="Use the first N examples. Default: at most 512 to calibrate, 16 to compare, 64 for a report; all to "
            "score.",
            panel=_PANEL,
        ),
    )
    batch_size: int = field(
        default=32, metadata=option("--batch-size", "-b", metavar="N", min=1, help="Examples at once.", panel=_PANEL)
    )
    preset: Optional[Preset] = field(
        default=None,
        metadata=option(
            "--preset",
            help="For images: mean 123.675,116.28,103.53 and std 58.395,57.12,57.375. Default for --gluon.",
            panel=_PANEL,
        ),
    )
    mean: Optional[str] = field(
        default=None,
        metadata=option(
            "--mean",
            metavar="R,G,B",
            help="For images: (pixel - mean) / std * scale is what the network gets, of pixels from 0 to 255. The "
            "shorter side becomes 256/224 of --image-size, and the middle is cut out. Default: 0,0,0.",
            panel=_PANEL,
        ),
    )
    std: Optional[str] = field(
        default=None, metadata=option("--std", metavar="R,G,B", help="See --mean. Default: 1,1,1.", panel=_PANEL)
    )
    scale: Optional[float] = field(
        default=None, metadata=option("--scale", metavar="F", help="See --mean. Default: 1.", panel=_PANEL)
    )
    layout: Layout = field(
        default=Layout.NCHW, metadata=option("--layout", help="How images lie in the network's input.", panel=_PANEL)
    )

    def open(self, net: Net, network: NetworkOptions) -> Data:
        """Return the examples.

        Parameters
        ----------
        net : Net
            The network that they are for.
        network : NetworkOptions
            How it was named.

        Returns
        -------
        Data
            All of them.

        Raises
        ------
        InputError
            If they are not there or cannot be read, or options do not fit them.
        """
        path = Path(self.data)
        if "://" in self.data:
            return self._url(net, network.side)
        if path.is_dir() or (path.is_file() and path.suffix == ".rec"):
            return self._images(path, net, network.side)
        self._refuse_preprocessing()
        if path.is_file() and path.suffix in (".npy", ".npz"):
            from mxquant.datasets.arrays import ArrayFile, read_arrays

            arrays = read_arrays(path, net.inputs)
            return Data(
                lambda: arrays.batches(self.batch_size),
                net.inputs,
                self.data,
                len(arrays),
                dataset=lambda: ArrayFile.of(self.data, net.inputs, self.batch_size),
            )
        match = _FUNCTION.fullmatch(self.data)
        if match is not None and not path.exists():
            function = _function(match["module"], match["name"])
            return Data(lambda: _called(function, self.data), net.inputs, self.data)
        problem = "has another suffix" if path.is_file() else "does not exist"
        raise InputError(
            f"--data: '{self.data}' {problem}; expected a folder of images, a .rec, .npy or .npz file, or "
            "module:function"
        )

    def _url(self, net: Net, side: int) -> Data:
        from mxquant.datasets import ArrayFile, Dataset, ImageFiles, RecordFile

        if self.data.endswith((".npy", ".npz")):
            self._refuse_preprocessing()
            found: Dataset = ArrayFile.of(self.data, net.inputs, self.batch_size)
        else:
            form = RecordFile if self.data.endswith(".rec") else ImageFiles
            found = form.of(self.data, self._preprocessing(net, side), self.batch_size)
        return Data(lambda: iter(found), net.inputs, self.data, len(found), dataset=lambda: found)

    def _images(self, path: Path, net: Net, side: int) -> Data:
        from itertools import repeat

        from mxquant.datasets import ImageFiles, RecordFile
        from mxquant.datasets.preprocessing import batches_of
        from mxquant.datasets.records import read_record, record_size

        how, name = self._preprocessing(net, side), str(path)
        if path.is_dir():
            found = ImageFiles.of(name, how, self.batch_size)
            return Data(lambda: iter(found), net.inputs, name, len(found), dataset=lambda: found)
        return Data(
            lambda: batches_of(read_record(name), how, repeat(self.batch_size)),
            net.inputs,
            name,
            record_size(name),
            dataset=lambda: RecordFile.of(name, how, self.batch_size),
        )

    def _refuse_preprocessing(self) -> None:
        for name in ("preset", "mean", "std", "scale"):
            if getattr(self, name) is not None:
                raise InputError(f"--{name} is for images, but --data '{self.data}' has none: it is taken as it is")

    def _preprocessing(self, net: Net, side: int) -> Preprocessing:
        from mxquant.datasets.preprocessing import Preprocessing

        if len(net.inputs) != 1:
            raise InputError(f"--data: '{self.data}' has images, but the network has inputs {', '.join(net.inputs)}")
        given = {"mean": _three("--mean", self.mean), "std": _three("--std", self.std), "scale": self.scale}
        chosen: Dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        by_name = self.preset is Preset.IMAGENET or (net.from_zoo and not chosen)
        if not by_name and not chosen:
            _log.info("images are given to the network as pixels from 0 to 255; see --preset, --mean, --std, --scale")
        if min(chosen.get("std", (1.0,))) <= 0:
            raise InputError(f"--std is {self.std!r}, expected three numbers above 0")
        values: Dict[str, Any] = {**(_IMAGENET if by_name else _PLAIN), **chosen}
        return Preprocessing(side, channels_first=self.layout is Layout.NCHW, **values)


def _three(name: str, text: Optional[str]) -> Optional[Tuple[float, ...]]:
    if text is None:
        return None
    try:
        values: List[float] = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 3):
        raise InputError(f"{name} is {text!r}, expected three numbers R,G,B, or one for all")
    return tuple(values * (3 // len(values)))


def _function(module: str, name: str) -> Callable[[], Any]:
    # As of 'python -m': modules of the working folder are found.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # whatever the user's module raises
        raise InputError(f"--data: cannot import '{module}': {type(error).__name__}: {error}") from error
    if not callable(found):
        raise InputError(f"--data: module '{module}' has no function '{name}'")
    return found  # type: ignore[no-any-return]


def _called(function: Callable[[], Any], title: str) -> Any:
    try:
        return function()
    except Exception as error:  # whatever the user's function raises
        raise InputError(f"--data: '{title}' raised {type(error).__name__}: {error}") from error
