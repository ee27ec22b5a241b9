"""The network that a command works on: four ways to name one, of which exactly one is used."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from mxquant.cli.files import checkpoint, the_file
from mxquant.cli.options import option
from mxquant.cli.shapes import size_of
from mxquant.errors import InputError
from mxquant.files.regular import missing

__all__ = ["Net", "NetworkOptions"]

_PANEL = "Network (exactly one)"


@dataclass(frozen=True)
class Net:
    """A network as every command works on it.

    Parameters
    ----------
    symbol : mxnet.symbol.Symbol
        Its structure.
    arg_params, aux_params : mapping of str to NDArray
        Its parameters.
    title : str
        What the user calls it.
    inputs : tuple of str
        Names of its data inputs, in order.
    network : Network
        Its graph and parameters, in which shapes can be looked for.
    digest : str
        Of the network, as statistics and plans have it.
    from_zoo : bool
        Whether it is one of the Gluon zoo, which is trained on normalised images.
    """

    symbol: Any
    arg_params: Mapping[str, Any]
    aux_params: Mapping[str, Any]
    title: str
    inputs: Tuple[str, ...]
    network: Any
    digest: str
    from_zoo: bool = False

    @property
    def params(self) -> Dict[str, Any]:
        """The parameters as keyword arguments of the library's calls."""
        return {"arg_params": self.arg_params, "aux_params": self.aux_params}

    @property
    def bytes(self) -> int:
        """How much memory its parameters take."""
        arrays = [*self.arg_params.values(), *self.aux_params.values()]
        return sum(value.size * value.dtype().itemsize for value in arrays)


class NonfiniteParams(str, Enum):
    """What to do about NaN and infinities in parameters."""

    RAISE = "raise"
    ZERO = "zero"


@dataclass(frozen=True)
class NetworkOptions:
    """Which fp32 network."""

    model: Optional[str] = field(
        default=None,
        metadata=option(
            "--model",
            "-m",
            metavar="PREFIX[:EPOCH]",
            help="A checkpoint: PREFIX-symbol.json and PREFIX-0000.params.",
            panel=_PANEL,
            reads=checkpoint,
        ),
    )
    symbol: Optional[Path] = field(
        default=None,
        metadata=option(
            "--symbol", metavar="FILE", help="A symbol's .json file, with --params.", panel=_PANEL, reads=the_file
        ),
    )
    gluon: Optional[str] = field(
        default=None,
        metadata=option(
            "--gluon",
            metavar="NAME",
            help="A network of mxnet.gluon.model_zoo.vision, such as resnet50_v1, with --params or random weights.",
            panel=_PANEL,
        ),
    )
    onnx: Optional[Path] = field(
        default=None, metadata=option("--onnx", metavar="FILE", help="An fp32 ONNX file.", panel=_PANEL, reads=the_file)
    )
    params: Optional[Path] = field(
        default=None,
        metadata=option(
            "--params", metavar="FILE", help="Parameters for --symbol or --gluon.", panel=_PANEL, reads=the_file
        ),
    )
    nonfinite_params: NonfiniteParams = field(
        default=NonfiniteParams.RAISE,
        metadata=option(
            "--nonfinite-params",
            help="Whether NaN and infinities in parameters are an error, or zeros where a ReLU hides their rows.",
            panel=_PANEL,
        ),
    )
    image_size: Optional[str] = field(
        default=None,
        metadata=option(
            "--image-size",
            metavar="N|HxW",
            help="Side, or height and width, of the images it takes, for --gluon and for images in --data. "
            "Default: 224, 299 for inceptionv3, or another usual size that fits it.",
            panel=_PANEL,
        ),
    )

    @property
    def size(self) -> Tuple[int, int]:
        """Height and width of its images, by default those of networks of the zoo."""
        side = 299 if self.gluon == "inceptionv3" else 224
        return (side, side) if self.image_size is None else size_of(self.image_size)

    def load(self) -> Net:
        """Return the network.

        Returns
        -------
        Net
            Ready for the library's calls.

        Raises
        ------
        InputError
            If not exactly one is named, parameters are missing or too many, or it cannot be read.
        """
        kinds: Dict[str, Callable[[Any], Tuple[Any, ...]]] = {
            "model": self._checkpoint,
            "symbol": self._symbol,
            "gluon": self._gluon,
            "onnx": self._onnx,
        }
        _ = self.size
        given = [name for name in kinds if getattr(self, name) is not None]
        if len(given) != 1:
            found = "none is given" if not given else " and ".join(f"--{name}" for name in given) + " are given"
            raise InputError(f"expected exactly one of --model, --symbol, --gluon and --onnx, but {found}")
        (kind,) = given
        if self.params is not None and kind not in ("symbol", "gluon"):
            raise InputError(f"--params goes with --symbol or --gluon; --{kind} has parameters of its own")
        if self.params is None and kind == "symbol":
            raise InputError("--symbol needs --params, the file with its parameters")
        from mxquant import model as models

        value = getattr(self, kind)
        symbol, args, aux = kinds[kind](value)
        source = models.read(symbol, args, aux, nonfinite_params=self.nonfinite_params.value)
        if source.notes:
            # The network as it was read, such as in float32 instead of float16, is the one that runs.
            from mxquant.runtime.mxnet_bridge import split_params, symbol_of

            symbol = symbol_of(source.network.graph)
            args, aux = split_params(source.network, symbol)
        return Net(
            symbol, args, aux, str(value), source.inputs, source.network, source.network.digest(), kind == "gluon"
        )

    def _checkpoint(self, prefix: str) -> Tuple[Any, ...]:
        from mxquant.model import load_checkpoint

        return load_checkpoint(prefix)

    def _symbol(self, path: Path) -> Tuple[Any, ...]:
        from mxquant.model import load_params
        from mxquant.runtime.symbol_file import read_symbol

        for name, file in (("symbol", path), ("params", self.params)):
            if file is None or not file.is_file():
                raise InputError(f"--{name}: {missing(str(file))}")
        return (read_symbol(path), *load_params(str(self.params)))

    def _gluon(self, name: str) -> Tuple[Any, ...]:
        from mxquant.cli.gluon import zoo_network

        return zoo_network(name, self.size, self.params)

    def _onnx(self, path: Path) -> Tuple[Any, ...]:
        from mxquant.onnx_import.reader import from_onnx

        if not path.is_file():
            raise InputError(f"--onnx: {missing(path)}")
        return from_onnx(path)
