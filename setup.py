"""Installation of mxquant."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "mxquant" / "version.py").read_text()).group(1)

setup(
    name="mxquant",
    version=VERSION,
    description="Post-training int8 quantization for Apache MXNet 1.9",
    license="Apache-2.0",
    packages=find_packages(include=["mxquant", "mxquant.*"]),
    python_requires=">=3.8,<3.12",
    install_requires=["mxnet>=1.7,<1.10", "numpy>=1.20,<2", "rich>=12"],
    extras_require={
        "onnx": ["onnx", "onnxruntime"],
        "report": ["plotly", "jinja2"],
        "dask": ["dask", "distributed"],
        "example": ["opencv-python-headless<4.12"],
        "dev": ["pytest>=7", "pytest-timeout", "pytest-benchmark", "hypothesis", "ruff", "mypy"],
    },
)
