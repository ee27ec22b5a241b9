"""What networks learn by: optimizers, rates, first values, metrics, losses, Trainer, Estimator and lower precision."""

from __future__ import annotations

import os
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from mxquant.compat.features.compare import as_numpy, close, equal, holds
from mxquant.compat.features.feature import Feature

__all__ = ["FEATURES"]


def _step(optimizer: Any, weight: Any, gradient: Any, count: int = 1) -> Any:
    """Return a weight behind some steps."""
    array = mx.nd.array(weight, dtype=weight.dtype)
    state = optimizer.create_state_multi_precision(0, array)
    for _ in range(count):
        optimizer.update_multi_precision(0, array, mx.nd.array(gradient, dtype=weight.dtype), state)
    return array


def _optimizers() -> None:
    weight, gradient = np.random.randn(4, 3).astype("float32"), np.random.randn(4, 3).astype("float32")
    for name in sorted(mx.optimizer.Optimizer.opt_registry):
        after = _step(mx.optimizer.create(name, rescale_grad=np.float32(0.5)), weight, gradient, 2).asnumpy()
        holds(np.isfinite(after).all() and not np.array_equal(after, weight), f"{name} changes weights")
    rate, momentum = np.float32(0.1), np.float64(0.9)
    sgd = mx.optimizer.SGD(learning_rate=rate, momentum=momentum, rescale_grad=np.float32(0.5))
    close(_step(sgd, weight, gradient, 2), weight - 0.05 * gradient * (1 + 1.9), 1e-5)
    adam = _step(mx.optimizer.Adam(learning_rate=rate), weight, gradient)
    close(adam, weight - 0.1 * np.sign(gradient), 1e-4, 1e-4)
    half = _step(mx.optimizer.SGD(learning_rate=0.5, multi_precision=True), weight.astype("float16"), gradient)
    close(half, (weight.astype("float16") - 0.5 * gradient).astype("float16"), 2e-3, 2e-3)
    adagrad = _step(mx.optimizer.AdaGrad(learning_rate=0.5, eps=1e-7), weight, gradient)
    close(adagrad, weight - 0.5 * np.sign(gradient), 1e-4, 1e-4)
    rms = _step(mx.optimizer.RMSProp(learning_rate=0.1, gamma1=0.75, epsilon=1e-12), weight, gradient)
    close(rms, weight - 0.2 * np.sign(gradient), 1e-4, 1e-4)


def _schedules() -> None:
    lrs = mx.lr_scheduler
    factor = lrs.FactorScheduler(step=10, factor=np.float32(0.5), base_lr=1.0, stop_factor_lr=0.2)
    close([factor(step) for step in (1, 10, 11, 21, 31, 41)], [1, 1, 0.5, 0.25, 0.2, 0.2])
    several = lrs.MultiFactorScheduler([5, 8], factor=0.1, base_lr=np.float64(2))
    close([several(step) for step in (5, 6, 8, 9)], [2, 0.2, 0.2, 0.02])
    poly = lrs.PolyScheduler(max_update=100, base_lr=1.0, pwr=2, final_lr=0.1)
    close([poly(step) for step in (0, 50, 100)], [1, 0.1 + 0.9 * 0.25, 0.1])
    cosine = lrs.CosineScheduler(110, 1.0, final_lr=0.2, warmup_steps=10, warmup_begin_lr=0.5)
    close([cosine(step) for step in (0, 5, 60, 110)], [0.5, 0.75, 0.6, 0.2])


def _first_values() -> None:
    def made(first: Any, shape: Any, name: str = "a_weight") -> Any:
        array = mx.nd.zeros(shape)
        mx.init.create(first)(mx.init.InitDesc(name), array) if isinstance(first, str) else first(
            mx.init.InitDesc(name), array
        )
        return array.asnumpy()

    init = mx.init
    equal(made("zeros", (2, 3)), np.zeros((2, 3), "float32"))
    equal(made("ones", (2, 3)), np.ones((2, 3), "float32"))
    equal(made(init.Constant(np.float32(2.5)), (2,)), np.full(2, 2.5, "float32"))
    uniform, normal = made(init.Uniform(0.3), (100, 100)), made(init.Normal(np.float64(0.2)), (100, 100))
    holds(0.29 < np.abs(uniform).max() <= 0.3, "Uniform keeps to its bounds")
    close(normal.std(), 0.2, 0.05)
    xavier = made(init.Xavier(magnitude=np.float32(3)), (60, 40))
    holds(0.97 < np.abs(xavier).max() / np.sqrt(3 / 50) <= 1.0001, "Xavier keeps to its bounds")
    close(made(init.MSRAPrelu("in", 0.0), (200, 50)).std(), np.sqrt(2 / 50), 0.05)
    rows = made(init.Orthogonal(scale=np.float64(2)), (6, 10))
    close(rows @ rows.T, 4 * np.eye(6), 1e-4, 1e-4)
    line = [0.25, 0.75, 0.75, 0.25]
    close(made("bilinear", (1, 1, 4, 4))[0, 0], np.outer(line, line))
    close(made(init.LSTMBias(1.0), (8,)), [0, 0, 1, 1, 0, 0, 0, 0])
    mixed = init.Mixed([".*bias", ".*"], [init.Zero(), init.One()])
    equal(made(mixed, (2,), "a_weight").sum(), np.float32(2))
    given = init.Load({"arg:a_weight": mx.nd.array([3, 4])}, init.Zero())
    equal(made(given, (2,)), np.array([3, 4], "float32"))


def _metrics() -> None:
    scores, labels = np.array([[0.3, 0.7], [0.6, 0.4], [0.2, 0.8], [0.9, 0.1]]), np.array([1, 1, 1, 0])
    values, targets = np.array([[1.0], [2], [4], [7]], "float32"), np.array([[1.5], [2], [3], [9]], "float32")
    named = {"acc": 0.75, "f1": 0.8, "ce": -np.log([0.7, 0.4, 0.8, 0.9]).mean(), "mcc": 1 / np.sqrt(3)}
    named.update({"nll_loss": named["ce"], "pcc": named["mcc"]})
    for name, expected in named.items():
        metric = mx.metric.create(name)
        metric.update([mx.nd.array(labels)], [mx.nd.array(scores)])
        close(metric.get()[1], expected, 1e-5)
    errors = np.abs(values - targets)
    wanted = {"mae": errors.mean(), "mse": (errors**2).mean(), "rmse": np.sqrt((errors**2).mean())}
    wanted["pearsonr"] = np.corrcoef(values.ravel(), targets.ravel())[0, 1]
    for name, expected in wanted.items():
        metric = mx.metric.create(name)
        metric.update([mx.nd.array(targets)], [mx.nd.array(values)])
        close(metric.get()[1], expected, 1e-5)
    top = mx.metric.TopKAccuracy(top_k=np.int64(2))
    top.update([mx.nd.array([2, 0])], [mx.nd.array([[0.1, 0.5, 0.4], [0.1, 0.5, 0.4]])])
    close(top.get()[1], 0.5)
    perplexity = mx.metric.Perplexity(ignore_label=0)
    perplexity.update([mx.nd.array(labels)], [mx.nd.array(scores)])
    close(perplexity.get()[1], np.exp(-np.log([0.7, 0.4, 0.8]).mean()))
    own = mx.metric.np(lambda label, pred: float(np.abs(label - pred.argmax(axis=1)).sum()), "wrong")
    both = mx.metric.CompositeEvalMetric([own, mx.metric.Accuracy()])
    both.update([mx.nd.array(labels)], [mx.nd.array(scores)])
    equal(both.get(), (["wrong", "accuracy"], [1.0, 0.75]))


def _long_sums() -> None:
    """A sum of float32 would lose each of these: 0.7 is less than half of a unit in the last place of 3e7."""
    loss = mx.metric.Loss()
    loss.update(None, [mx.nd.array([3e7])])
    for _ in range(1000):
        loss.update(None, [mx.nd.array([0.7])])
    close(loss.get()[1], (3e7 + 700) / 1001, 1e-8)
    micro = mx.metric.PearsonCorrelation(average="micro")
    numbers, noise = np.random.randn(2, 4000)
    for start in range(0, 4000, 40):
        part = slice(start, start + 40)
        micro.update([mx.nd.array(numbers[part])], [mx.nd.array(numbers[part] + noise[part] + 100)])
    close(micro.get()[1], np.corrcoef(numbers, numbers + noise)[0, 1], 1e-2)


def _losses() -> None:
    loss, a, b = gluon.loss, np.random.randn(3, 4), np.random.randn(3, 4)
    first, second, signs = mx.nd.array(a), mx.nd.array(b), mx.nd.array(np.sign(b))
    powers = np.exp(a - a.max(axis=1, keepdims=True))
    logs = np.log(powers / powers.sum(axis=1, keepdims=True))
    close(loss.L2Loss()(first, second), ((a - b) ** 2).mean(axis=1) / 2, 1e-4)
    close(loss.L1Loss(weight=np.float32(2))(first, second), 2 * np.abs(a - b).mean(axis=1), 1e-4)
    close(loss.SoftmaxCrossEntropyLoss()(first, mx.nd.array([1, 3, 0])), -logs[[0, 1, 2], [1, 3, 0]], 1e-4)
    truths = np.sign(b) / 2 + 0.5
    expected = (np.log1p(np.exp(a)) - a * truths).mean(axis=1)
    close(loss.SigmoidBinaryCrossEntropyLoss()(first, mx.nd.array(truths)), expected, 1e-4)
    shares = np.full((3, 4), 0.25)
    close(loss.KLDivLoss(False)(first, mx.nd.array(shares)), (shares * (np.log(shares) - logs)).sum(axis=1), 1e-4)
    apart = np.abs(a - b)
    close(loss.HuberLoss(1)(first, second), np.where(apart > 1, apart - 0.5, apart**2 / 2).mean(axis=1), 1e-4)
    close(loss.HingeLoss()(first, signs), np.maximum(0, 1 - a * np.sign(b)).mean(axis=1), 1e-4)
    close(loss.SquaredHingeLoss()(first, signs), (np.maximum(0, 1 - a * np.sign(b)) ** 2).mean(axis=1), 1e-4)
    close(loss.LogisticLoss()(first, signs), np.log1p(np.exp(-a * np.sign(b))).mean(axis=1), 1e-4)
    triple = np.maximum(0, ((a - b) ** 2 - (a - 1) ** 2).sum(axis=1) + 1)
    close(loss.TripletLoss()(first, second, mx.nd.ones((3, 4))), triple, 1e-4)
    close(loss.PoissonNLLLoss()(first, mx.nd.array(shares)), [(np.exp(a) - shares * a).mean()], 1e-4)
    cosine = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    close(as_numpy(loss.CosineEmbeddingLoss()(first, second, mx.nd.ones(3))).ravel(), 1 - cosine, 1e-4)
    # One step and one letter: the probability of that letter.
    close(loss.CTCLoss()(first[:1].reshape((1, 1, 4)), mx.nd.array([[2]])), [-logs[0, 2]], 1e-4)


def _trainer() -> None:
    points = np.random.randn(200, 3).astype("float32")
    targets = points @ np.array([[1.0], [-2], [3]], "float32") + 0.5
    network = gluon.nn.Dense(1, in_units=3)
    network.initialize(mx.init.Zero())
    options = {"learning_rate": np.float32(0.1), "momentum": 0.5}
    trainer = gluon.Trainer(network.collect_params(), "sgd", options)
    for _ in range(100):
        with autograd.record():
            loss = gluon.loss.L2Loss()(network(mx.nd.array(points)), mx.nd.array(targets))
        loss.backward()
        trainer.step(200)
    close(network.weight.data(), [[1, -2, 3]], 1e-3)
    close(network.bias.data(), [0.5], 1e-3)
    trainer.save_states("trainer")
    trainer.load_states("trainer")
    trainer.set_learning_rate(np.float64(0.25))
    close(trainer.learning_rate, 0.25)


def _estimator() -> None:
    from mxnet.gluon.contrib.estimator import CheckpointHandler, EarlyStoppingHandler, Estimator

    points = np.random.randn(200, 4).astype("float32")
    data = gluon.data.DataLoader(gluon.data.ArrayDataset(points, (points.sum(axis=1) > 0).astype("float32")), 20)
    network = gluon.nn.Dense(2)
    network.initialize(mx.init.Xavier())
    trainer = gluon.Trainer(network.collect_params(), "adam", {"learning_rate": 0.05})
    judge = Estimator(network, gluon.loss.SoftmaxCrossEntropyLoss(), mx.metric.Accuracy(), trainer=trainer)
    accuracy = judge.train_metrics[0]
    keeper = CheckpointHandler("kept", monitor=accuracy, save_best=True, epoch_period=1)
    stopper = EarlyStoppingHandler(monitor=accuracy, patience=3, mode="max")
    judge.fit(data, val_data=data, epochs=8, event_handlers=[keeper, stopper])
    judge.evaluate(data)
    holds(judge.val_metrics[0].get()[1] > 0.95, "a plane is learnt")
    best = [name for name in os.listdir("kept") if "best" in name and name.endswith(".params")]
    again = gluon.nn.Dense(2)
    again.load_parameters(os.path.join("kept", best[0]))
    holds(np.mean(as_numpy(again(mx.nd.array(points))).argmax(1) == (points.sum(1) > 0)) > 0.9, "the best one is kept")


def _mixed_precision() -> None:
    from mxnet.contrib import amp

    data = mx.sym.var("data")
    hidden = mx.sym.FullyConnected(data, num_hidden=4, name="fc")
    symbol = mx.sym.softmax(mx.sym.FullyConnected(mx.sym.relu(hidden), num_hidden=3, name="last"), name="out")
    halved = amp.convert_symbol(symbol, "float16", fp32_ops=["softmax"], excluded_sym_names=["last"])
    casts = [node for node in halved.get_internals().list_outputs() if "amp_cast" in node]
    holds(len(casts) > 3, "casts are put in")
    kinds = halved.infer_type(**dict.fromkeys(halved.list_arguments(), "float32"))[1]
    equal(kinds, [np.float32])
    values = np.random.randn(5).astype("float32")
    equal(mx.nd.amp_cast(mx.nd.array(values), dtype="float16"), values.astype("float16"))
    equal(mx.nd.amp_cast(mx.nd.array(values).astype("float16"), dtype="float32"), values.astype("float16").astype("f"))
    scaler = amp.loss_scaler.LossScaler()
    close(scaler.loss_scale, 2.0**16)
    args = {name: mx.nd.ones((2, 2)) for name in symbol.list_arguments() if name != "data"}
    turned, kept, _ = amp.convert_model(symbol, args, {}, "float16", cast_optional_params=True)
    holds(any("amp_cast" in name for name in turned.get_internals().list_outputs()), "models as well")
    equal(kept["fc_weight"].dtype, np.float16)


FEATURES = (
    Feature("optimizers", _optimizers),
    Feature("schedules of learning rates", _schedules),
    Feature("initializers", _first_values),
    Feature("metrics", _metrics),
    Feature("metrics of long epochs", _long_sums),
    Feature("losses", _losses),
    Feature("Trainer", _trainer),
    Feature("Estimator and its handlers", _estimator),
    Feature("AMP, networks of lower precision", _mixed_precision),
)
