"""Options of Python calls, read as people type them."""

from __future__ import annotations

import numpy as np
import pytest

from roofline import units
from roofline.config.options import read, read_one, read_options
from roofline.errors import RooflineError


def test_arrays_and_nothing_pass_through():
    array = np.array([1, 2])
    assert read("tp", array, units.positive_int) is array
    assert read("tp", None, units.positive_int) is None
    assert read("tp", ["1", 2], units.positive_int) == (1, 2)


def test_one_number_is_asked_for():
    assert read_one("tokens", np.int64(7), units.count) == 7
    for several in ([1, 2], np.array([1, 2])):
        with pytest.raises(RooflineError, match=r"tokens: .* is not one number"):
            read_one("tokens", several, units.count)


@pytest.mark.parametrize("value", [True, -1, 0, 1.5, "eight", float("nan"), float("inf")])
def test_nonsense_names_the_option(value):
    with pytest.raises(RooflineError, match="micro_batch: "):
        read_options({"micro_batch": value})
