"""Nothing is fetched at run time: all of it works where every connection is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = """
import socket, sys

def refuse(*arguments, **options):
    print("a connection was tried:", arguments, flush=True)
    raise OSError("no network")

class Refused(socket.socket):
    connect = connect_ex = sendto = refuse

socket.socket = Refused
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse

import os
os.chdir(sys.argv[1])
import numpy as np
import mxquant
from mxquant.cli.running import run
from tests.soak.material import write_material
from pathlib import Path

write_material(Path("."))
mxquant.from_onnx("net.onnx")
for words in (
    "quantize -m net -d data.npy -o out --accuracy fast -q",
    "doctor -m net --int8 out -d data.npy -o report.html -q",
    "inspect out statistics.npz net.onnx",
    "compare -m net --int8 out -d data.npy -q",
    "quantize --gluon mobilenet0.25 --image-size 32 -d photo:load -o zoo --accuracy fast -q",
):
    if "photo" in words:
        Path("photo.py").write_text("import numpy as np\\ndef load(): return np.zeros((1, 3, 32, 32), 'f') + 1")
    assert run(words.split()) == 0, words
print("done")
"""


def test_the_command_and_the_library_open_no_connection(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WORK, str(tmp_path)],
        cwd=str(ROOT),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert "a connection was tried" not in done.stdout, done.stdout
    assert done.stdout.rstrip().endswith("done"), done.stderr[-2000:]
