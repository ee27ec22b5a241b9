"""Networks of Gluon with the weights of a file, or with random ones that are always the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from example_images import UsageError

from mxquant.runtime.mxnet import mx

__all__ = ["fill", "zoo"]


def zoo(name: str, params: Optional[Path], size: int) -> Any:
    """Return a network of MXNet's Gluon zoo.

    Parameters
    ----------
    name : str
        As ``get_model`` has it.
    params : Path or None
        What ``save_parameters`` has written; without it weights are random, but always the same.
    size : int
        Side of the images.

    Returns
    -------
    mxnet.gluon.HybridBlock
        Initialized.

    Raises
    ------
    UsageError
        If there is no such network, the file is not its own, or it does not take such images.
    """
    known = mx.gluon.model_zoo.vision
    try:
        net = known.get_model(name, pretrained=False)
    except ValueError as error:
        raise UsageError(f"--network: {' '.join(str(error).split())}") from None
    fill(net, params, size)
    return net


def fill(net: Any, params: Optional[Path], size: int) -> None:
    """Load a Gluon network's weights, or make random ones under which activations keep their magnitude.

    Raises
    ------
    UsageError
        If the file cannot be read, or is not of this network; or the network does not take images of this size.
    """
    if params is None:
        mx.random.seed(0)
        for name, parameter in net.collect_params().items():
            parameter.initialize(default_init=_initializer(name))
    else:
        _load(net, params)
    try:
        net(mx.nd.zeros((1, 3, size, size)))
        mx.nd.waitall()
    except (mx.MXNetError, ValueError) as error:
        raise UsageError(f"--size: the network does not take images of {size} x {size}: {_last_line(error)}") from None


def _load(net: Any, params: Path) -> None:
    if not params.is_file():
        raise UsageError(f"--params: there is no file '{params}'")
    try:
        net.load_parameters(str(params))
    except (mx.MXNetError, AssertionError, ValueError, KeyError) as error:
        raise UsageError(f"--params: '{params}' is not of this network: {_last_line(error)}") from None


def _last_line(error: Exception) -> str:
    """Return the reason that an error gives, which MXNet writes below where in its sources it is."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _initializer(name: str) -> Any:
    """Return what makes the values of a parameter that has no initializer of its own."""
    if name.endswith("weight"):
        return mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2)
    return mx.init.One() if name.endswith(("gamma", "var")) else mx.init.Zero()
