"""What is asked as people type it, and what is answered where nothing fits."""

import numpy as np
import pytest

from roofline.errors import RooflineError
from roofline.model.load import load_model
from roofline.search.answer import layouts

from .small import DENSE, DEVICE


def test_numbers_are_read_as_typed():
    typed = layouts(DENSE, DEVICE, num_devices="8", global_batch="32", seq_len="2k", micro_batch=["1", 2])
    plain = layouts(DENSE, DEVICE, num_devices=8, global_batch=32, seq_len=2048, micro_batch=(1, 2))
    assert typed.layouts == plain.layouts
    for name, value in [("micro_batch", -1), ("tp", True), ("global_batch", "many"), ("sharding", "fdsp")]:
        with pytest.raises(RooflineError, match=name):
            layouts(DENSE, DEVICE, num_devices=8, **{name: value})


def test_without_the_front_the_rest_is_the_same():
    whole, asked = (layouts(DENSE, DEVICE, num_devices=8, global_batch=32, front=front) for front in (True, False))
    assert len(whole.front) > 1
    assert asked.front == []
    assert (asked.layouts, asked.simplest, asked.fitting) == (whole.layouts, whole.simplest, whole.fitting)


def test_nothing_fits_names_the_smallest():
    result = layouts(load_model("llama-2-70b"), DEVICE, num_devices=2, global_batch=8)
    assert result.layouts == []
    assert result.smallest is not None
    assert not result.smallest.fits


@pytest.mark.parametrize("numbers", [[1, 2], np.array([1, 2]), np.array([[2], [1]])])
def test_the_remedy_is_of_the_largest_number_in_whatever_they_come(numbers):
    found = layouts(load_model("llama-2-70b"), DEVICE, num_devices=numbers, global_batch=8)
    alone = layouts(load_model("llama-2-70b"), DEVICE, num_devices=2, global_batch=8)
    assert found.remedy == alone.remedy
    assert "To fit: use " in found.remedy[1]
