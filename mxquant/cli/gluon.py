"""Networks of the Gluon model zoo, with the user's weights or with random ones."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from mxquant.errors import InputError
from mxquant.files.regular import missing
from mxquant.model import load_params
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import first_line
from mxquant.shown import logger

__all__ = ["zoo_network"]

_log = logger(__name__)


def zoo_network(name: str, size: Tuple[int, int], params: Optional[Path]) -> Tuple[Any, Dict[str, Any], Dict[str, Any]]:
    """Return a network of ``mxnet.gluon.model_zoo.vision``.

    Parameters
    ----------
    name : str
        As ``get_model`` has it.
    size : (int, int)
        Height and width of the images that it takes.
    params : Path or None
        A file of ``save_parameters`` or ``export``; without it weights are random, but always the same.

    Returns
    -------
    tuple
        Symbol, arguments and auxiliary states.

    Raises
    ------
    InputError
        If there is no such network, or the parameters are not its own.
    """
    # The default prefix counts networks: names would depend on what was made before.
    try:
        net = mx.gluon.model_zoo.vision.get_model(name, pretrained=False, prefix=f"{name.replace('.', '_')}_")
    except ValueError as error:
        # MXNet's message ends in the list of its networks.
        known = [line.strip() for line in str(error).splitlines()[1:]]
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"there are {', '.join(sorted(known))}"
        raise InputError(f"--gluon: no network is called {name!r} in mxnet.gluon.model_zoo.vision; {hint}") from None
    # Two commands on one network have to find the same weights.
    mx.random.seed(0)
    net.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    try:
        net(mx.nd.zeros((1, 3, *size))).wait_to_read()
    except (mx.MXNetError, ValueError) as error:
        raise InputError(
            f"--gluon: '{name}' does not take images of {size[0]} x {size[1]}, see --image-size: {first_line(error)}"
        ) from error
    if params is None:
        _log.warning("the weights of '%s' are random, since there is no --params; accuracy means nothing", name)
    else:
        _load(net, name, params)
    symbol = net(mx.sym.var("data"))
    values = {key: parameter.data() for key, parameter in net.collect_params().items()}
    args = {key: values[key] for key in symbol.list_arguments() if key in values}
    return symbol, args, {key: values[key] for key in symbol.list_auxiliary_states()}


def _load(net: Any, name: str, path: Path) -> None:
    """Load a network's parameters from a file of either of Gluon's two forms."""
    if not path.is_file():
        raise InputError(f"--params: {missing(path)}")
    args, aux = load_params(str(path))
    saved = {**args, **aux}
    if any("." in key for key in saved):
        wanted = net._collect_params_with_prefix()
    else:
        # An exported file has the names of the network that it is of, which begin in another way.
        head = f"{next(iter(saved), '').partition('_')[0]}_"
        wanted = {head + key[len(net.prefix) :]: value for key, value in net.collect_params().items()}
    odd = sorted(wanted.keys() ^ saved.keys())
    if odd:
        place = "the file" if odd[0] in saved else "the network"
        raise InputError(f"--params: '{path}' is not of '{name}': only {place} has '{odd[0]}'")
    for key, parameter in wanted.items():
        if parameter.shape != saved[key].shape:
            raise InputError(
                f"--params: '{path}' is not of '{name}': '{key}' has shape {saved[key].shape}, expected "
                f"{parameter.shape}"
            )
        parameter.set_data(saved[key])
