"""Networks as users have them: fp32, read into one form, and int8, ready to be run."""

from mxquant.model.checkpoint import load_checkpoint, load_params
from mxquant.model.inputs import inputs_of
from mxquant.model.model import Model, Source, load, read

__all__ = ["Model", "Source", "inputs_of", "load", "load_checkpoint", "load_params", "read"]
