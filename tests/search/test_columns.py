"""Columns of rows, and what is looked up in them."""

import numpy as np
import pytest

from roofline.search.columns import SPARSE, alike_rows, as_column, degree, distinct, taken


@pytest.mark.parametrize("largest", [7, 3 * SPARSE, 3 * SPARSE + 1, 10**6])
def test_the_numbers_that_occur_and_where(largest):
    numbers = np.array([largest, 0, largest])
    found, places = distinct(numbers)
    assert (found.tolist(), places.tolist()) == ([0, largest], [1, 0, 1])


def test_rows_alike_in_every_column_are_one():
    tp, ep = np.array([2, 1, 2, 1, 2]), np.array([8, 4, 8, 9, 4])
    firsts, places = alike_rows([tp, ep], 5)
    # by rising degrees: tp 1 with ep 4 and 9, tp 2 with 4 and 8
    assert (firsts.tolist(), places.tolist()) == ([1, 3, 4, 0], [3, 0, 3, 1, 2])
    firsts, places = alike_rows([], 3)
    assert (firsts.tolist(), places.tolist()) == ([0], [0, 0, 0])


def test_a_number_stands_for_all_rows():
    column = np.array([4, 2])
    assert as_column(3) == taken(3, np.array([1])) == 3
    assert as_column(column).tolist() == [[4], [2]]
    assert taken(column, np.array([1, 1, 0])).tolist() == [2, 2, 4]
    assert degree(np.array([1, 1])) == 1
    assert degree(column) is column
