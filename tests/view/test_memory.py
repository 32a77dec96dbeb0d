"""Memory as it is read: parts, moments of a step, what makes it fit."""

import numpy as np
import pytest

import roofline
from roofline.config.run import TrainConfig
from roofline.view import memory as view

FITS = roofline.memory("gpt2", "a100-sxm-80gb", micro_batch=8, stack="megatron")
TOO_LARGE = roofline.memory("gpt2", "t4", micro_batch=64, stack="compiled")


def test_parts_are_sorted_and_add_up():
    *parts, total, needed, capacity = view.memory_table(FITS, FITS.train).rows
    sizes = [row[1].value for row in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == pytest.approx(total[1].value)
    assert (total[1].value, capacity[1].value) == (FITS.total_bytes, FITS.capacity_bytes)
    assert total[2].value == pytest.approx(FITS.total_bytes / FITS.capacity_bytes)
    assert needed[1].value == FITS.needed_bytes < 0.99 * FITS.total_bytes  # what the first line says


def test_what_is_needed_has_no_row_where_it_is_the_total():
    static = roofline.memory("gpt2", "a100-sxm-80gb", micro_batch=8, stack="torchtitan")  # segments that expand
    assert static.needed_bytes == static.total_bytes
    assert not [row for row in view.memory_table(static, static.train).rows if "needed" in row[0]]


def test_the_peak_is_the_moment_with_most_live_tensors():
    *moments, reserved, driver = view.phases_table(FITS).rows
    marked = [row for row in moments if row[-1] == "peak"]
    assert [row[-2].value for row in marked] == [max(row[-2].value for row in moments)]
    for row in moments:
        assert sum(cell.value for cell in row[1:-2]) == pytest.approx(row[-2].value)
    assert reserved[-2].value <= driver[-2].value == pytest.approx(FITS.driver_bytes)


def test_changes_are_offered_where_it_does_not_fit():
    assert view.tables(TOO_LARGE)[-1].columns[0] == "cheapest changes that make it fit"
    assert all("cheapest" not in table.columns[0] for table in view.tables(FITS))
    none = view.fixes_table(())
    assert none.rows[0][0].startswith("no combination of up to three changes fits")


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (TrainConfig(stack="megatron"), "optimizer state and master weights"),
        (TrainConfig(stack="eager"), "optimizer state"),  # fp32 weights are the weights themselves
        (TrainConfig(stack="megatron", master_weights=False), "optimizer state"),
    ],
)
def test_what_the_optimizer_holds(train, words):
    assert view.optimizer_words(train) == words


def test_arrays_are_a_row_a_case():
    result = roofline.memory("gpt2", "a100-sxm-80gb", micro_batch=np.array([1, 2, 4]), stack="megatron")
    (table,) = view.tables(result)
    assert [row[0] for row in table.rows] == [1, 2, 4]
    records = view.records(result)
    assert [row[list(records.columns).index("total_bytes")] for row in records.rows] == list(result.total_bytes)
