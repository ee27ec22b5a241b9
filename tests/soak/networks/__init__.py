"""Random networks, with parameters, data and the options that they are quantized with."""

from __future__ import annotations

from tests.soak.networks.description import Description, Input, Layer
from tests.soak.networks.strategy import descriptions

__all__ = ["Description", "Input", "Layer", "descriptions"]
