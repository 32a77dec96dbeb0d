"""A flat record as rows: one, or one for each case."""

import numpy as np
import pytest

from roofline.config.run import TrainConfig
from roofline.view.cases import cases, sweep


def test_plain_values_are_one_row() -> None:
    table = cases({"model": "gpt", "tp": 2})
    assert (list(table.columns), table.rows) == (["model", "tp"], [["gpt", 2]])


def test_arrays_are_a_row_for_each_element_in_order_and_the_others_repeat() -> None:
    table = cases({"model": "gpt", "tp": np.array([[1.0], [2.0]]), "x": np.array([0.5, 1.5])})
    assert table.rows == [["gpt", 1, 0.5], ["gpt", 1, 1.5], ["gpt", 2, 0.5], ["gpt", 2, 1.5]]
    assert type(table.rows[0][1]) is int  # what counts things stays whole


def test_arrays_that_do_not_go_together_are_an_error() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        cases({"a": np.ones(2), "b": np.ones(3)})


def test_a_sweep_shows_what_was_varied_once() -> None:
    lengths = np.array([256.0, 512.0])
    table = sweep("", TrainConfig(seq_len=lengths, mean_len=lengths), {"time": (np.array([1.0, 2.0]), str)})
    assert table.columns == ["seq len", "time"]
