"""Networks of symbols: Module, BucketingModule, their monitors, callbacks, checkpoints and stores of parameters."""

from __future__ import annotations

import logging
import os
import re
from typing import Any, Tuple

import mxnet as mx
import numpy as np

from mxquant.compat.features.compare import close, equal, holds
from mxquant.compat.features.feature import Feature

__all__ = ["FEATURES"]


def _points(count: int = 200) -> Tuple[Any, Any]:
    """Return points of four coordinates, and on which side of a plane they are."""
    points = np.random.RandomState(7).randn(count, 4).astype("float32")
    return points, (points.sum(axis=1) > 0).astype("float32")


def _batches(size: int = 20) -> Any:
    points, sides = _points()
    return mx.io.NDArrayIter(points, sides, size, label_name="softmax_label")


def _classifier() -> Any:
    data = mx.sym.var("data")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(data, num_hidden=2, name="fc"), name="softmax")


def _trained(**options: Any) -> Any:
    module = mx.mod.Module(_classifier())
    given = {"num_epoch": 8, "optimizer_params": {"learning_rate": np.float32(0.5)}, "eval_metric": "acc", **options}
    module.fit(_batches(), initializer=mx.init.Xavier(), **given)
    return module


def _probabilities(params: Any, points: Any) -> Any:
    scores = points @ params["fc_weight"].asnumpy().T + params["fc_bias"].asnumpy()
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _module() -> None:
    module = _trained()
    holds(dict(module.score(_batches(), "acc"))["accuracy"] > 0.95, "a plane is learnt")
    close(module.predict(_batches()), _probabilities(module.get_params()[0], _points()[0]), 1e-4)


def _checkpoints() -> None:
    options = {"learning_rate": 0.1, "momentum": 0.9}
    module = _trained(num_epoch=1, optimizer_params=options)
    module.save_checkpoint("net", 3, save_optimizer_states=True)
    symbol, args, _ = mx.model.load_checkpoint("net", 3)
    equal(symbol.tojson(), module.symbol.tojson())
    for name, value in module.get_params()[0].items():
        equal(args[name], value)
    again = mx.mod.Module.load("net", 3, load_optimizer_states=True)
    again.bind(data_shapes=[("data", (20, 4))], label_shapes=[("softmax_label", (20,))])
    again.init_optimizer(optimizer_params=options)
    equal(again.predict(_batches()), module.predict(_batches()))
    # With the momentum read, the next steps are the same.
    for each in (module, again):
        batch = next(iter(_batches()))
        each.forward_backward(batch)
        each.update()
    close(again.get_params()[0]["fc_weight"], module.get_params()[0]["fc_weight"], 1e-6)


def _bucketing() -> None:
    # Each word follows from the one before, so that its perplexity comes down to 1.
    sentences = [[1 + (start + step) % 5 for step in range(length)] for start in range(5) for length in (4, 6) * 4]
    data = mx.rnn.BucketSentenceIter(sentences, 4, buckets=[4, 6], invalid_label=0)

    def network(length: int) -> Any:
        words = mx.sym.Embedding(mx.sym.var("data"), input_dim=6, output_dim=8, name="words")
        scores = mx.sym.FullyConnected(mx.sym.Reshape(words, shape=(-1, 8)), num_hidden=6, name="fc")
        labels = mx.sym.Reshape(mx.sym.var("softmax_label"), shape=(-1,))
        named = mx.sym.SoftmaxOutput(scores, labels, use_ignore=True, ignore_label=0, name="softmax")
        return named, ("data",), ("softmax_label",)

    module = mx.mod.BucketingModule(network, default_bucket_key=data.default_bucket_key)
    metric = mx.metric.Perplexity(0)
    options = {"learning_rate": 0.05}
    module.fit(data, eval_metric=metric, num_epoch=12, optimizer="adam", optimizer_params=options)
    data.reset()
    holds(1.0 <= dict(module.score(data, metric))["perplexity"] < 1.1, "the next word is known")


def _monitor() -> None:
    monitor = mx.mon.Monitor(1, stat_func=lambda array: mx.nd.norm(array) / np.sqrt(array.size), pattern="fc_.*")
    module = mx.mod.Module(_classifier())
    data = _batches()
    module.bind(data.provide_data, data.provide_label)
    module.init_params(mx.init.Uniform(1))
    module.install_monitor(monitor)
    monitor.tic()
    module.forward(next(data), is_train=False)
    found = {name: float(re.sub(r"[\[\]\s]", "", text)) for _, name, text in monitor.toc()}
    weight = module.get_params()[0]["fc_weight"].asnumpy()
    close(found["fc_weight"], np.sqrt(np.mean(weight**2)), 1e-4)
    holds("fc_output" in found and np.isfinite(found["fc_output"]), "outputs are seen")


def _callbacks() -> None:
    lines = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    log, keeper = logging.getLogger(), Keep()
    level = log.level
    log.addHandler(keeper)
    log.setLevel(logging.INFO)
    try:
        after_batch = [
            mx.callback.Speedometer(20, 5, auto_reset=False),
            mx.callback.ProgressBar(9),
            mx.callback.log_train_metric(5),
        ]
        module = _trained(
            num_epoch=2, batch_end_callback=after_batch, epoch_end_callback=mx.callback.do_checkpoint("kept", 1)
        )
    finally:
        log.removeHandler(keeper)
        log.setLevel(level)
    equal(sorted(name for name in os.listdir() if name.startswith("kept-0")), ["kept-0001.params", "kept-0002.params"])
    equal(mx.nd.load("kept-0002.params")["arg:fc_weight"], module.get_params()[0]["fc_weight"])
    speeds = [line for line in lines if re.search(r"Speed: \d+\.\d+ samples/sec\s+accuracy=[01]\.\d+", line)]
    equal(len(speeds), 2)
    holds(any("100%" in line for line in lines), "the bar of progress ends at 100%")
    holds(any(re.search(r"Train-accuracy=[01]\.\d+", line) for line in lines), "accuracy is logged")


def _kvstore() -> None:
    store = mx.kv.create("local")
    store.init("w", mx.nd.ones((2, 3)))
    store.push("w", [mx.nd.ones((2, 3)) * value for value in (1, 2, 3, 4)])
    out = mx.nd.zeros((2, 3))
    store.pull("w", out=out)
    equal(out, np.full((2, 3), 10, "float32"))
    store = mx.kv.create("local")
    store.init([3, 5], [mx.nd.zeros((2,))] * 2)
    store.push([3, 5], [mx.nd.array([1, 2]), mx.nd.array([3, 4])])
    outs = [mx.nd.zeros((2,)), mx.nd.zeros((2,))]
    store.pull([3, 5], out=outs)
    equal(outs[1], np.array([3, 4], "float32"))
    store = mx.kv.create("local")
    store.init(0, mx.nd.ones((3,)))
    store.set_optimizer(mx.optimizer.SGD(learning_rate=0.5))
    store.push(0, mx.nd.array([1, 2, 4]))
    out = mx.nd.zeros((3,))
    store.pull(0, out=out)
    close(out, [0.5, 0.0, -1.0])
    store.save_optimizer_states("states")
    store.load_optimizer_states("states")


def _sequential() -> None:
    first = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=4, name="first")
    second = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=2, name="fc"), name="softmax")
    both = mx.mod.SequentialModule()
    both.add(mx.mod.Module(first, label_names=None)).add(mx.mod.Module(second), take_labels=True, auto_wiring=True)
    both.fit(_batches(), num_epoch=8, optimizer_params={"learning_rate": 0.5}, initializer=mx.init.Xavier())
    holds(dict(both.score(_batches(), "acc"))["accuracy"] > 0.95, "a plane is learnt by two modules in a row")


FEATURES = (
    Feature("Module, trained", _module),
    Feature("Module, checkpoints and states of optimizers", _checkpoints),
    Feature("BucketingModule", _bucketing),
    Feature("SequentialModule", _sequential),
    Feature("Monitor", _monitor),
    Feature("callbacks", _callbacks),
    Feature("KVStore, local", _kvstore),
)
