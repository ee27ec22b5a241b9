"""Networks for text, with random weights: BERT in its two forms of attention, recurrent networks, and one that reads.

BERT reads token ids, token types and valid lengths, and returns the encoded sequence, the pooled first token, a
classification, and scores over the vocabulary, whose weight is that of the word embedding. With `interleaved` its
attention is that of GluonNLP 0.10: three weights, joined by operators of the network, go into one FullyConnected, and
MXNet's operators for interleaved queries, keys and values follow; data are ordered (time, batch, channel). Else it has
three FullyConnected layers and batch_dot.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Tuple

import numpy as np

from mxquant.runtime.mxnet import mx

__all__ = [
    *("BASE", "NETWORKS", "SMALL", "TINY"),
    *(
        "Bert",
        "BertSize",
        "Crnn",
        "Recurrent",
        "TextNetwork",
        "Unrolled",
        "bert",
        "initialized",
        "tokens",
        "with_outliers",
    ),
]

nn, rnn = mx.gluon.nn, mx.gluon.rnn
HybridBlock = mx.gluon.HybridBlock
VOCABULARY = 300


class BertSize(NamedTuple):
    """The sizes of a BERT."""

    layers: int
    units: int
    hidden: int
    heads: int
    vocabulary: int = VOCABULARY
    length: int = 128


TINY = BertSize(2, 32, 64, 4, length=32)
SMALL = BertSize(4, 256, 1024, 4)
BASE = BertSize(12, 768, 3072, 12, vocabulary=30522, length=512)


class InterleavedAttention(HybridBlock):
    """Self-attention by MXNet's interleaved operators, on (time, batch, channel)."""

    def __init__(self, units: int, heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.heads = units, heads
        with self.name_scope():
            for role in ("query", "key", "value"):
                setattr(self, f"{role}_weight", self.params.get(f"{role}_weight", shape=(units, units)))
                setattr(self, f"{role}_bias", self.params.get(f"{role}_bias", shape=(units,)))

    def hybrid_forward(self, F: Any, data: Any, lengths: Any, **params: Any) -> Any:
        """Return the attended values."""
        roles = ("query", "key", "value")
        parts = [F.reshape(params[f"{role}_weight"], shape=(self.heads, -1, 0), reverse=True) for role in roles]
        weight = F.reshape(F.concat(*parts, dim=-2), shape=(-1, 0), reverse=True)
        parts = [F.reshape(params[f"{role}_bias"], shape=(self.heads, -1), reverse=True) for role in roles]
        bias = F.reshape(F.stack(*parts, axis=1), shape=(-1,))
        joined = F.FullyConnected(data, weight, bias, num_hidden=3 * self.units, flatten=False)
        scores = F.contrib.interleaved_matmul_selfatt_qk(joined, heads=self.heads)
        lengths = F.broadcast_axis(F.expand_dims(lengths, axis=1), axis=1, size=self.heads)
        lengths = F.reshape(lengths, shape=(-1, 0), reverse=True)
        weights = F.softmax(scores, length=lengths, use_length=True, axis=-1)
        return F.contrib.interleaved_matmul_selfatt_valatt(joined, weights, heads=self.heads)


class SeparateAttention(HybridBlock):
    """Self-attention by three FullyConnected layers and batch_dot, on (batch, time, channel)."""

    def __init__(self, units: int, heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.heads = units, heads
        with self.name_scope():
            for role in ("query", "key", "value"):
                setattr(self, role, nn.Dense(units, flatten=False, in_units=units, prefix=f"{role}_"))

    def _split(self, F: Any, data: Any) -> Any:
        apart = F.transpose(F.reshape(data, shape=(0, 0, self.heads, -1)), axes=(0, 2, 1, 3))
        return F.reshape(apart, shape=(-1, 0, 0), reverse=True)

    def hybrid_forward(self, F: Any, data: Any, mask: Any) -> Any:
        """Return the attended values."""
        query, key, value = (self._split(F, part(data)) for part in (self.query, self.key, self.value))
        scores = F.batch_dot(query, key, transpose_b=True) * (self.units / self.heads) ** -0.5
        mask = F.reshape(F.broadcast_axis(F.expand_dims(mask, axis=1), axis=1, size=self.heads), shape=(-3, 0, 0))
        weights = F.softmax(F.where(mask, scores, -1e9 * F.ones_like(scores)), axis=-1) * mask
        joined = F.reshape(F.batch_dot(weights, value), shape=(-1, self.heads, 0, 0), reverse=True)
        return F.reshape(F.transpose(joined, axes=(0, 2, 1, 3)), shape=(0, 0, -1))


class EncoderCell(HybridBlock):
    """One layer of BERT: attention and a position-wise network, each added to its input and normalized."""

    def __init__(self, size: BertSize, interleaved: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        attention = InterleavedAttention if interleaved else SeparateAttention
        with self.name_scope():
            self.attention = attention(size.units, size.heads, prefix="attention_")
            self.proj = nn.Dense(size.units, flatten=False, in_units=size.units, prefix="proj_")
            self.first = nn.Dense(size.hidden, flatten=False, in_units=size.units, prefix="ffn1_")
            self.second = nn.Dense(size.units, flatten=False, in_units=size.hidden, prefix="ffn2_")
            self.norm = nn.LayerNorm(in_channels=size.units, epsilon=1e-12, prefix="norm1_")
            self.last_norm = nn.LayerNorm(in_channels=size.units, epsilon=1e-12, prefix="norm2_")

    def hybrid_forward(self, F: Any, data: Any, visible: Any) -> Any:
        """Return the encoded sequence."""
        data = self.norm(self.proj(self.attention(data, visible)) + data)
        return self.last_norm(self.second(F.LeakyReLU(self.first(data), act_type="gelu")) + data)


class Bert(HybridBlock):
    """BERT with its four heads."""

    def __init__(self, size: BertSize, interleaved: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.interleaved = size, interleaved
        with self.name_scope():
            self.word_embed = nn.Embedding(size.vocabulary, size.units, prefix="word_embed_")
            self.type_embed = nn.Embedding(2, size.units, prefix="type_embed_")
            self.position_weight = self.params.get("position_weight", shape=(size.length, size.units))
            self.norm = nn.LayerNorm(in_channels=size.units, epsilon=1e-12, prefix="norm_")
            self.cells = nn.HybridSequential(prefix="")
            for number in range(size.layers):
                self.cells.add(EncoderCell(size, interleaved, prefix=f"transformer{number}_"))
            self.pooler = nn.Dense(size.units, activation="tanh", flatten=False, in_units=size.units, prefix="pooler_")
            self.classifier = nn.Dense(2, in_units=size.units, prefix="cls_")
            self.transform = nn.Dense(size.units, flatten=False, in_units=size.units, prefix="decoder0_")
            self.transform_norm = nn.LayerNorm(in_channels=size.units, epsilon=1e-12, prefix="decoder2_")
            shared = self.word_embed.collect_params()
            self.decoder = nn.Dense(size.vocabulary, flatten=False, in_units=size.units, params=shared)

    def hybrid_forward(self, F: Any, ids: Any, types: Any, valid: Any, position_weight: Any) -> Tuple[Any, ...]:
        """Return sequence, pooled token, class scores, and scores over the vocabulary."""
        data = self.word_embed(ids) + self.type_embed(types)
        steps = F.contrib.arange_like(data, axis=1)
        position = F.Embedding(steps, position_weight, input_dim=self.size.length, output_dim=self.size.units)
        data = F.broadcast_add(data, F.expand_dims(position, axis=0))
        limits = F.reshape(valid, shape=(-1, 1))
        if self.interleaved:
            data = F.transpose(data, axes=(1, 0, 2))
            zeros = F.reshape(F.zeros_like(steps), shape=(1, -1))
            visible = F.cast(F.broadcast_add(limits, zeros), dtype="int32")
        else:
            columns = F.broadcast_lesser(F.reshape(steps, shape=(1, -1)), limits)
            visible = F.broadcast_mul(F.expand_dims(columns, axis=1), F.reshape(F.ones_like(steps), shape=(1, -1, 1)))
        data = self.norm(data)
        for cell in self.cells:
            data = cell(data, visible)
        data = F.SequenceMask(data, valid, use_sequence_length=True, axis=0 if self.interleaved else 1)
        sequence = F.transpose(data, axes=(1, 0, 2)) if self.interleaved else data
        pooled = self.pooler(F.reshape(F.slice_axis(sequence, axis=1, begin=0, end=1), shape=(0, -1)))
        decoded = self.transform_norm(F.LeakyReLU(self.transform(sequence), act_type="gelu"))
        return sequence, pooled, self.classifier(pooled), self.decoder(decoded)


class Recurrent(HybridBlock):
    """Word ids, through a recurrent layer of Gluon, to classes: an LSTM, a GRU, or a simple one."""

    def __init__(self, kind: str = "LSTM", units: int = 32, layers: int = 1, both: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.embed = nn.Embedding(VOCABULARY, units, prefix="embed_")
            options = {"num_layers": layers, "bidirectional": both, "input_size": units, "layout": "NTC"}
            self.layer = getattr(rnn, kind)(units, **options, prefix="layer_")
            self.dense = nn.Dense(units, activation="relu", in_units=units * (1 + both), prefix="dense_")
            self.classes = nn.Dense(5, in_units=units, prefix="classes_")

    def hybrid_forward(self, F: Any, ids: Any) -> Any:
        """Return class scores, by the mean over time."""
        return self.classes(self.dense(F.mean(self.layer(self.embed(ids)), axis=1)))


class Unrolled(HybridBlock):
    """Word ids, through a recurrent cell unrolled over time, to a class at each step."""

    def __init__(self, kind: str = "LSTMCell", units: int = 32, length: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length
        with self.name_scope():
            self.embed = nn.Embedding(VOCABULARY, units, prefix="embed_")
            self.cell = getattr(rnn, kind)(units, input_size=units, prefix="cell_")
            self.classes = nn.Dense(5, flatten=False, in_units=units, prefix="classes_")

    def hybrid_forward(self, F: Any, ids: Any) -> Any:
        """Return class scores, shape (batch, time, classes)."""
        outputs, _ = self.cell.unroll(self.length, self.embed(ids), layout="NTC", merge_outputs=True)
        return self.classes(outputs)


class Crnn(HybridBlock):
    """Images of lines of text, 32 pixels high, to a character at each step: convolutions, then LSTM both ways.

    Source: Shi et al. 2015, arXiv:1507.05717, without the last two poolings' overlap.
    """

    def __init__(self, units: int = 256, width: int = 64, characters: int = 37, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix="features_")
            channels = 1
            for factor, pool in ((1, (2, 2)), (2, (2, 2)), (4, None), (4, (2, 1)), (8, None), (8, (2, 1))):
                self.features.add(nn.Conv2D(width * factor, 3, padding=1, in_channels=channels))
                channels = width * factor
                self.features.add(nn.BatchNorm(in_channels=channels), nn.Activation("relu"))
                if pool is not None:
                    self.features.add(nn.MaxPool2D(pool, pool))
            self.features.add(nn.Conv2D(channels, (2, 1), in_channels=channels, activation="relu"))
            self.layer = rnn.LSTM(units, 2, bidirectional=True, input_size=channels, prefix="layer_")
            self.classes = nn.Dense(characters, flatten=False, in_units=2 * units, prefix="classes_")

    def hybrid_forward(self, F: Any, lines: Any) -> Any:
        """Return scores, shape (time, batch, characters)."""
        columns = F.transpose(F.squeeze(self.features(lines), axis=2), axes=(2, 0, 1))
        return self.classes(self.layer(columns))


def initialized(block: Any, seed: int = 0) -> Any:
    """Return a block with random weights that keep the magnitude of activations."""
    block.initialize(mx.init.Zero())
    rng = np.random.RandomState(seed)
    for name, parameter in sorted(block.collect_params().items()):
        shape = parameter.shape
        if name.endswith("gamma"):
            value = 1 + 0.1 * rng.randn(*shape)
        elif "embed" in name or "position" in name:
            value = rng.randn(*shape)
        elif len(shape) > 1:
            value = rng.randn(*shape) / np.sqrt(np.prod(shape[1:]))
            value *= np.sqrt(2) if len(shape) > 2 else 1
        elif name.endswith("running_var"):
            value = np.ones(shape)
        else:
            value = 0.1 * rng.randn(*shape)
        parameter.set_data(mx.nd.array(value))
    return block


def bert(size: BertSize = TINY, interleaved: bool = True, seed: int = 0) -> Bert:
    """Return a BERT with random weights."""
    return initialized(Bert(size, interleaved, prefix="bert_"), seed)


def with_outliers(block: Any, factor: float, channels: Tuple[int, ...] = (5, 17, 40)) -> Any:
    """Let some channels behind each LayerNorm of a BERT be `factor` times larger, and count as much as before."""
    readers = ("query", "key", "value", "ffn1", "pooler", "decoder0")
    for name, parameter in block.collect_params().items():
        value = parameter.data().asnumpy()
        if name.endswith(("gamma", "beta")) and "decoder" not in name:
            value[list(channels)] *= factor
        elif name.endswith("weight") and any(reader in name for reader in readers):
            value[:, list(channels)] /= factor
        parameter.set_data(mx.nd.array(value))
    return block


def tokens(size: BertSize, count: int, length: int, seed: int = 1) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids and types, shape (count, length), and valid lengths, shape (count,), of random sentences."""
    rng = np.random.RandomState(seed)
    ids = rng.randint(0, size.vocabulary, (count, length)).astype(np.float32)
    types = (np.arange(length) >= rng.randint(1, length, (count, 1))).astype(np.float32)
    return ids, types, rng.randint(length // 2, length + 1, count).astype(np.float32)


class TextNetwork(NamedTuple):
    """A network, and batches of its inputs."""

    name: str
    block: Any
    batches: List[Tuple[np.ndarray, ...]]


def _bert(name: str, size: BertSize, interleaved: bool, count: int, length: int) -> TextNetwork:
    ids, types, valid = tokens(size, count, length)
    batches = [(ids[i : i + 8], types[i : i + 8], valid[i : i + 8]) for i in range(0, count, 8)]
    return TextNetwork(name, bert(size, interleaved), batches)


def _of_ids(name: str, block: Any, length: int) -> TextNetwork:
    ids = tokens(TINY, 16, length)[0]
    return TextNetwork(name, initialized(block), [(ids[:8],), (ids[8:],)])


def _of_lines(name: str, block: Any) -> TextNetwork:
    lines = np.random.RandomState(0).uniform(-1, 1, (16, 1, 32, 100)).astype(np.float32)
    return TextNetwork(name, initialized(block), [(lines[:8],), (lines[8:],)])


# What the table of families has; each is built when it is asked for.
NETWORKS: Dict[str, Callable[[], TextNetwork]] = {
    "BERT base": lambda: _bert("BERT base", BASE, True, 16, 128),
    "BERT base, batch_dot": lambda: _bert("BERT base, batch_dot", BASE, False, 16, 128),
    "BERT small": lambda: _bert("BERT small", SMALL, True, 32, 64),
    "LSTM": lambda: _of_ids("LSTM", Recurrent("LSTM", 256, 2, True, prefix="lstm_"), 32),
    "GRU": lambda: _of_ids("GRU", Recurrent("GRU", 256, prefix="gru_"), 32),
    "CRNN": lambda: _of_lines("CRNN", Crnn(prefix="crnn_")),
    "LSTM of cells": lambda: _of_ids("LSTM of cells", Unrolled("LSTMCell", 256, 16, prefix="unrolled_"), 16),
}
