"""Installation of mxquant; the tools that check it are set up in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
# Read, not imported: importing mxquant needs MXNet, which is not there yet.
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "mxquant" / "version.py").read_text(), re.M).group(1)

# Lower bounds have no vulnerability that is known, as far as a Python has such a version: ci/advisories.json, which a
# test compares with them.
ONNX = [
    'onnx>=1.17,<2; python_version < "3.9"',
    'onnx>=1.19.1,<2; python_version == "3.9"',
    'onnx>=1.21,<2; python_version >= "3.10"',
    "onnxruntime>=1.13,<2",
]
DASK = [
    f'{name}>={bound}; python_version {pythons} "3.10"'
    for name in ("dask", "distributed")
    for bound, pythons in (("2023.5", "<"), ("2026.1", ">="))
]
OPENCV = "opencv-python-headless>=4.8.1.78,<5"
REPORT = ["plotly>=5.16,<8", "jinja2>=3.1.6,<4"]

# What the tests of ci/pythons.sh take.
TESTS = [
    "hypothesis>=6,<7",
    *ONNX,
    'pytest>=7,<10; python_version < "3.10"',
    'pytest>=9.0.3,<10; python_version >= "3.10"',
    "pytest-timeout>=2,<3",
    "pytest-xdist>=3,<4",
    "scipy>=1.10,<2",
]
EXTRAS = {
    "onnx": ONNX,
    "report": REPORT,
    "bench": ["matplotlib>=3.5,<4"],
    "docs": ["mkdocs-material>=9,<10", "mkdocstrings[python]>=0.22,<2"],
    "dask": DASK,
    # Weights and images of the demo: example/requirements.txt.
    "example": [OPENCV],
    "examples-cv": ["gluoncv==0.10.5.post0", OPENCV],
    "tests": TESTS,
    "dev": [
        *TESTS,
        *DASK,
        *REPORT,
        'aiohttp>=3.10.11,<4; python_version < "3.9"',
        'aiohttp>=3.13.4,<4; python_version >= "3.9"',
        "build>=1,<2",
        "cryptography>=46.0.7,<100",
        "mypy>=1,<3",
        "openvino>=2023.0",
        "pytest-benchmark>=4,<6",
        "ruff>=0.5,<1",
        'scikit-learn>=1,<2; python_version < "3.9"',
        'scikit-learn>=1.5,<2; python_version >= "3.9"',
        "selenium>=4.14,<5",
        "twine>=4,<8",
    ],
}

setup(
    name="mxquant",
    version=VERSION,
    description="Post-training int8 quantization for Apache MXNet 1.9",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords="mxnet gluon quantization int8 calibration onednn onnx",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(8, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["mxquant", "mxquant.*"]),
    package_data={"mxquant": ["py.typed", "*.pyi"], "mxquant.doctor": ["templates/*"]},
    entry_points={"console_scripts": ["mxquant = mxquant.cli:main"]},
    python_requires=">=3.8,<3.15",
    install_requires=[
        # MXNet asks for numpy<2, of which Python 3.13 has no wheel. There it comes by itself, as docs/install.md tells.
        'mxnet>=1.9.1,<1.10; python_version < "3.13"',
        # MXNet imports it, and takes old ones too.
        'requests>=2.32.4,<3; python_version < "3.10"',
        'requests>=2.33,<3; python_version >= "3.10"',
        'numpy>=1.20,<3; python_version < "3.10"',
        'numpy>=1.22.2,<3; python_version >= "3.10"',
        "numba>=0.53,<1",
        "rich>=12,<16",
        "typer>=0.9,<1",
    ],
    extras_require=EXTRAS,
)
