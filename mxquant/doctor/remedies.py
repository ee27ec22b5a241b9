"""What a user can do about the reasons for which a layer stays float32, or loses much."""

from __future__ import annotations

import re
from typing import Tuple

__all__ = ["REMEDIES", "remedy"]

# A pattern that is in the reason, and the remedy; the first that fits is taken.
REMEDIES: Tuple[Tuple[str, str], ...] = (
    (r"excluded by (name|operator)", "Take it off the list of exclusions to run it in int8."),
    (
        r"global_pooling was not possible: how many axes",
        "If it goes over all places of an image, write it as a global pooling: nn.GlobalAvgPool2D(), or "
        "Pooling(global_pool=True, kernel=(1, 1)). That runs in int8.",
    ),
    (
        r"relu_forms was not possible",
        "If its values are float32, write it as Activation(act_type='relu'), or give the variable that it reads "
        "dtype='float32'. Then it runs in int8 between layers that do.",
    ),
    (
        r"it gains nothing in int8 unless it lies between layers that do",
        "Nothing is lost: it would be converted to int8 and back for no gain. mode='full' runs it in int8 anyhow, but "
        "for what only moves values.",
    ),
    (
        r"gets codes with which it cannot saturate",
        "On a CPU with VNNI it runs in int8: plan with isa='vnni' if the network is deployed on one.",
    ),
    (
        r"it prepares what .* decides by|it works on what .* has decided",
        "Nothing is lost: there is little to compute, and an error of half a code could change what is found.",
    ),
    (r"takes longer for int8 than for float32", "Nothing is lost: values are only moved."),
    (
        r"batch of what it reads is not known",
        "Give the layer's begin state a shape of your own, such as (1, units), or zeros of the data's batch.",
    ),
    (r"one of its operands is float32", "Nothing is lost: mode='full' runs it in int8 anyhow."),
    (r"computed from constants alone", "Nothing is lost: it is the same for all data."),
    (
        r"on which every second code|would have one value in int8 on some CPUs",
        "Nothing is lost: it is a small part of the work. mode='full' runs it in int8 anyhow; so does isa='vnni', "
        "where all CPUs have VNNI.",
    ),
    (r"would saturate, or its weights lose", "On a CPU with VNNI it runs in int8: plan with isa='vnni'."),
    (r"float32 is faster on this CPU", "Leave out never_slower to run it in int8 all the same."),
    (
        r"in int8 it would take longer on a GPU",
        "For int8 all the same, raise gpu_operations_per_byte.",
    ),
    (
        r"its BatchNorm could not be folded",
        "See the second half of the reason.",
    ),
    (r"BatchNorm works on axis", "Export the network channel-first, so that BatchNorm works on axis 1."),
    (r"Embedding returns float32", "Use an Embedding of float32."),
    (r"both operands are parameters", "Add the two parameters up once, and keep their sum."),
    (r"Concat needs a positive axis", "Write the axis as a positive number, such as dim=3 instead of dim=-1."),
    (
        r"pooling_convention=",
        "Where the windows end with the data, pooling_convention='valid' computes the same: choose the size of images "
        "so.",
    ),
    (r"pooling on GPUs is max", "It has to stay float32 there; on CPUs average pooling runs in int8."),
    (r"pooling for GPUs has", "Give it a kernel of two numbers; pooling of volumes has to stay float32 there."),
    (
        r"pooling (is max or avg|has a)",
        "Write sum pooling as average pooling, and the weights behind it times the size of its window; pooling of rows "
        "as one of images of height 1; and global pooling with kernel=(1, 1).",
    ),
    (r"layout|channel-first", "Export the network channel-first (NCHW)."),
    (r"convolution is 2D or 3D|convolution for GPUs is 2D.*1D", "Write it as a 2D convolution of images of height 1."),
    (r"convolution for GPUs is 2D", "On GPUs MXNet has no such int8 kernel; the layer has to stay float32 there."),
    (r"no groups|dilation", "On GPUs MXNet has no such int8 kernel; the layer has to stay float32 there."),
    (r"multiples of 4", "Pad the layer's channels with zeros up to a multiple of 4."),
    (r"flatten=False", "Reshape its data to two axes before it, and use flatten=True."),
    (
        r"activation is relu|activations are ReLU",
        "Nothing is lost: 8 bits are few for it by itself, and it takes little of the time. Right behind a convolution "
        "or a FullyConnected MXNet computes it together with them.",
    ),
    (r"computed or fed at run time|has no fixed value", "Save it as a parameter of the network, with a fixed value."),
    (r"expected float32", "Cast the network to float32 before it is quantized."),
    (
        r"int8 would leave",
        "Nothing is lost: a pooling over all places takes little of the time. Behind a ReLU it runs in int8.",
    ),
    (r"int8 would lose", "Scale the values before the layer; or check why they are so small, or so large."),
    (r"needs calibration|calibration gives|without calibration", "Calibrate: pass data, and a method other than None."),
    (r"calibration has no statistics", "Calibrate again for this target; integer tensors have no statistics."),
    (
        r"bias may be too large|bias would overflow",
        "It had better stay float32: its bias is so much larger than what its weights make of the data that int8 has "
        "no codes for both.",
    ),
    (r"is 0, or so small", "The layer computes next to nothing; prune it, or leave it float32."),
    (
        r"recurrent layer is an LSTM|int8 LSTM (has no|does not run)|layers could not be computed apart",
        "Where it costs much, unroll its cells (gluon.rnn.LSTMCell, GRUCell): their FullyConnected layers run in int8.",
    ),
    (r"units an LSTM takes longer", "Nothing is lost; with mode='full' it runs in int8 all the same."),
    (
        r"int8 attention gives",
        "Nothing is lost: nearly all multiplications are in the layers around it.",
    ),
    (
        r"no int8 (LayerNorm|softmax|log_softmax|mean|max|LeakyReLU|erf|tanh|sigmoid) ",
        "It stays float32 by rule: 8 bits are few for what it computes, and it takes little of the time.",
    ),
    (
        r"no int8 (Reshape|transpose|SwapAxis|expand_dims|squeeze|slice|slice_axis|SliceChannel|stack|SequenceMask) ",
        "Nothing is lost: it moves values, and layers with weights around it run in int8 all the same.",
    ),
    (r"no int8 _np", "Of the operators of mx.np those with weights run in int8; this one takes little of the time."),
    (
        r"no int8 clip",
        "A clip that begins at 0 runs in int8 right behind a convolution or a FullyConnected that nothing else reads.",
    ),
    (r"no int8 ", "There is no int8 kernel for it. Layers with weights around it run in int8 all the same."),
)


def remedy(reason: str) -> str:
    """Return what can be done about a reason for float32, or '' if nothing is known."""
    return next((text for pattern, text in REMEDIES if re.search(pattern, reason)), "")
