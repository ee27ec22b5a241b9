"""Functions of MXNet's that no name can help."""

import ctypes

import numpy as np
import pytest

from mxquant.compat.functions import mend
from mxquant.runtime.mxnet import mx


def test_arrays_of_c_take_arrays_with_one_element():
    array = mx.base.c_array(ctypes.c_int, [np.array([3]), np.int64(4), 5])
    assert list(array) == [3, 4, 5]
    assert list(mx.base.c_array(ctypes.c_float, (np.float32(0.5), np.array(0.25, "f")))) == [0.5, 0.25]


def test_an_array_of_several_elements_is_no_number():
    with pytest.raises(ValueError):
        mx.base.c_array(ctypes.c_int, [np.array([3, 4])])


@pytest.mark.parametrize("label", [[1.5, 2.5], np.array([1.5, 2.5], "f")])
def test_labels_of_records(label):
    header, content = mx.recordio.unpack(mx.recordio.pack(mx.recordio.IRHeader(0, label, 7, 0), b"abc"))
    assert content == b"abc" and header.flag == 2 and header.id == 7 and list(header.label) == [1.5, 2.5]


def test_images_of_records():
    pytest.importorskip("cv2")
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    packed = mx.recordio.pack_img(mx.recordio.IRHeader(0, 3.0, 1, 0), image, quality=3, img_fmt=".png")
    header, back = mx.recordio.unpack_img(packed)
    assert header.label == 3.0 and np.array_equal(back, image)


def test_histograms_grow_in_double_precision():
    """The new range is the old one and whole bins: of ranges in float32 too, which NumPy 2 computes with in float32."""
    low, high, step = np.float32(0.1), np.float32(0.7), 2 * float(np.float32(0.1)) / 101
    counts, edges = np.histogram(np.zeros(5, "f"), 101, (-float(low), float(low)))
    from mxnet.contrib.quantization import combine_histogram

    old = counts, edges, -low, low, low
    new, _, smallest, largest, th = combine_histogram(old, np.full(3, high), np.float32(0), high, high)
    added = int((float(high) - float(low)) // step + 1)
    assert new.size == 101 + 2 * added and new.sum() == 8
    assert th == added * step + float(low) and (smallest, largest) == (-low, high)


def test_a_function_is_mended_once():
    before = mx.base.c_array, mx.recordio.pack.__code__
    assert mend(mx.base) == {} and mend(mx.recordio) == {}
    assert (mx.base.c_array, mx.recordio.pack.__code__) == before
