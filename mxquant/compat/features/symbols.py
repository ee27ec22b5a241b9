"""Symbols: their files, attributes and names, pictures of them, the profiler, and what else goes with networks."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections import Counter
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import gluon

from mxquant.compat.features.compare import close, equal, holds
from mxquant.compat.features.feature import Feature

__all__ = ["FEATURES"]


def _network() -> Any:
    data = mx.sym.var("data")
    hidden = mx.sym.Convolution(data, kernel=(np.int64(3), 3), num_filter=np.int64(4), name="conv")
    pooled = mx.sym.Pooling(
        mx.sym.Activation(hidden, act_type="relu", name="relu"), kernel=(2, 2), pool_type="max", name="pool"
    )
    return mx.sym.FullyConnected(mx.sym.Flatten(pooled, name="flat"), num_hidden=3, name="fc")


def _values(symbol: Any) -> Any:
    shapes = symbol.infer_shape(data=(2, 1, 6, 6))[0]
    return {name: mx.nd.random.normal(shape=shape) for name, shape in zip(symbol.list_arguments(), shapes)}


def _json() -> None:
    symbol = _network()
    values = _values(symbol)
    expected = symbol.bind(mx.cpu(), values).forward()[0]
    symbol.save("net.json")
    for again in (mx.sym.load_json(symbol.tojson()), mx.sym.load("net.json")):
        equal(again.tojson(), symbol.tojson())
        equal(again.bind(mx.cpu(), values).forward()[0], expected)
    nodes = {node["name"]: node for node in json.loads(symbol.tojson())["nodes"]}
    equal(nodes["conv"]["attrs"]["kernel"].replace(" ", ""), "(3,3)")
    equal(nodes["conv"]["attrs"]["num_filter"], "4")
    equal(symbol.get_internals()["pool_output"].infer_shape(data=(2, 1, 6, 6))[1], [(2, 4, 3, 3)])


def _attributes_and_names() -> None:
    with mx.AttrScope(ctx_group="one", __lr_mult__="2"):
        inner = mx.sym.var("inner", shape=(np.int64(2), 3), init=mx.init.Constant(np.float64(2)), dtype=np.float32)
        total = mx.sym.sum(inner, axis=np.int64(1), name="total")
    equal((total.attr("ctx_group"), inner.attr("__lr_mult__")), ("one", "2"))
    equal(inner.attr("__shape__").replace(" ", ""), "(2,3)")
    equal(total.attr_dict()["total"]["axis"], "1")
    equal(total.infer_shape()[1], [(2,)])
    with mx.name.Prefix("left_"):
        equal(mx.sym.relu(inner).name[:5], "left_")
    with mx.name.NameManager():
        equal([mx.sym.relu(inner).name for _ in range(2)], ["relu0", "relu1"])
    grouped = mx.sym.Group([total, inner * 2])
    equal(len(grouped.list_outputs()), 2)
    module = mx.mod.Module(inner + mx.sym.var("data"), label_names=None)
    module.bind([("data", (2, 3))], for_training=False)
    module.init_params()
    equal(module.get_params()[0]["inner"], np.full((2, 3), 2, "float32"))


def _executors() -> None:
    x = mx.sym.var("x")
    symbol = mx.sym.broadcast_mul(x, x) + mx.sym.var("y")
    values = np.random.randn(2, 3).astype("float32")
    bound = symbol.simple_bind(mx.cpu(), x=(np.int64(2), 3), y=(2, 3))
    bound.arg_dict["x"][:] = values
    bound.arg_dict["y"][:] = np.float64(1)
    close(bound.forward(is_train=True)[0], values**2 + 1)
    bound.backward(mx.nd.ones((2, 3)))
    close(bound.grad_dict["x"], 2 * values)
    smaller = bound.reshape(x=(1, 3), y=(1, 3), partial_shaping=True)
    equal(smaller.forward()[0].shape, (1, 3))
    equal(symbol.eval(x=mx.nd.ones((1,)), y=mx.nd.ones((1,)))[0].asscalar(), np.float32(2))
    kinds = symbol.infer_type(x=np.float64)
    equal(kinds[1], [np.float64])


def _summary() -> None:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        mx.viz.print_summary(_network(), shape={"data": (np.int64(2), 1, 6, 6)})
    lines = text.getvalue()
    # A convolution of 4 filters of 9 and their biases; 36 inputs, and biases, for three.
    holds("Total params: 151" in lines, "all parameters are counted")
    holds("4x3x3" in lines and "conv(Convolution)" in lines, "shapes of outputs are shown")
    network = gluon.nn.HybridSequential()
    network.add(gluon.nn.Dense(3, in_units=4), gluon.nn.Dense(2, in_units=3))
    network.initialize()
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        network.summary(mx.nd.ones((1, 4)))
    holds("Total params: 23" in text.getvalue(), "parameters of Gluon are counted")


def _graphviz() -> None:
    drawn = mx.viz.plot_network(_network(), shape={"data": (2, 1, 6, 6)}, hide_weights=True)
    for text in ("conv", "4x3x3", "fc", "relu"):
        holds(text in drawn.source, f"'{text}' is drawn")


def _profiler() -> None:
    mx.profiler.set_config(profile_all=True, aggregate_stats=True, filename="profile.json")
    mx.profiler.set_state("run")
    task = mx.profiler.Task(mx.profiler.Domain("mine"), "work")
    task.start()
    mx.nd.dot(mx.nd.ones((20, 20)), mx.nd.ones((20, 20))).wait_to_read()
    task.stop()
    mx.profiler.set_state("stop")
    table = mx.profiler.dumps(format="json", reset=True)
    holds(json.loads(table)["Time"]["operator"]["dot"]["Count"] >= 1, "products are counted")
    mx.profiler.dump()
    with open("profile.json", encoding="utf-8") as file:
        names = {event.get("name") for event in json.load(file)["traceEvents"]}
    holds({"dot", "work"} <= names, "events are written")


def _vocabulary() -> None:
    from mxnet.contrib import text

    counts = text.utils.count_tokens_from_str("a b b c c c\nc d", to_lower=True)
    equal(counts, Counter({"c": 4, "b": 2, "a": 1, "d": 1}))
    words = text.vocab.Vocabulary(counts, most_freq_count=None, min_freq=1, reserved_tokens=["<pad>"])
    equal(words.idx_to_token[:4], ["<unk>", "<pad>", "c", "b"])
    equal(words.to_indices(["c", "zebra", "b"]), [2, 0, 3])
    equal(words.to_tokens(2), "c")
    with open("vectors.txt", "w", encoding="utf-8") as file:
        file.write("c 0.5 1.5\nb 2 3\n")
    vectors = text.embedding.CustomEmbedding("vectors.txt", vocabulary=words)
    close(vectors.get_vecs_by_tokens(["b", "c", "zebra"]), [[2, 3], [0.5, 1.5], [0, 0]])
    vectors.update_token_vectors("b", mx.nd.array([7, 8]))
    close(vectors.get_vecs_by_tokens("b"), [7, 8])


def _layers() -> None:
    data = np.random.randn(2, 4, 5).astype("float32")
    array, nn = mx.nd.array(data), gluon.nn

    def result(layer: Any) -> Any:
        layer.initialize()
        return layer(array)

    mean, var = data.mean(axis=-1, keepdims=True), data.var(axis=-1, keepdims=True)
    close(result(nn.LayerNorm()), (data - mean) / np.sqrt(var + 1e-5), 1e-4, 1e-5)
    close(result(nn.LeakyReLU(np.float32(0.1))), np.where(data > 0, data, data * 0.1), 1e-4)
    close(result(nn.ELU(np.float64(0.5))), np.where(data > 0, data, 0.5 * np.expm1(data)), 1e-4)
    close(result(nn.Swish()), data / (1 + np.exp(-data)), 1e-4)
    close(result(nn.GlobalAvgPool1D()), mean, 1e-4)
    close(result(nn.MaxPool1D(np.int64(2), strides=1)), np.maximum(data[..., :-1], data[..., 1:]))
    close(result(nn.Lambda(lambda x: x * 2)), data * 2)
    close(result(nn.Flatten()), data.reshape(2, 20))
    words = nn.Embedding(np.int64(6), 3)
    words.initialize()
    equal(words(mx.nd.array([5, 0])), words.weight.data().asnumpy()[[5, 0]])
    dropped = nn.Dropout(np.float32(0.5))
    with mx.autograd.record():
        kept = dropped(mx.nd.ones((100, 100))).asnumpy()
    equal(sorted(set(kept.ravel().tolist())), [0.0, 2.0])
    close(kept.mean(), 1.0, 0.05)
    shuffled = gluon.contrib.nn.PixelShuffle1D(np.int64(2))(array)
    equal(shuffled, data.reshape(2, 2, 2, 5).transpose(0, 1, 3, 2).reshape(2, 2, 10))


def _library() -> None:
    features = mx.runtime.Features()
    holds(features.is_enabled("CPU_SSE") or len(features) > 10, "features of the library are listed")
    equal(os.path.exists(mx.libinfo.find_lib_path()[0]), True)
    equal(mx.context.num_gpus() >= 0, True)
    with mx.Context("cpu", np.int64(0).item()):
        equal(mx.nd.ones(1).context, mx.cpu(0))
    with mx.engine.bulk(10):
        equal(mx.nd.ones(3).sum().asscalar(), np.float32(3))
    old = mx.util.set_np_shape(True)
    equal(mx.nd.zeros((0, 3)).shape, (0, 3))
    mx.util.set_np_shape(old)


FEATURES = (
    Feature("symbols in files", _json),
    Feature("attributes, scopes and names of symbols", _attributes_and_names),
    Feature("executors", _executors),
    Feature("layers of Gluon", _layers),
    Feature("print_summary", _summary),
    Feature("plot_network", _graphviz, ("graphviz",)),
    Feature("profiler", _profiler),
    Feature("contrib.text, vocabularies and embeddings", _vocabulary),
    Feature("library, contexts, engine", _library),
)
