"""A training log as it is read."""

import msgspec

from roofline.profiling.series import Dip, Series
from roofline.view.log import MOST_DIPS, notes, tables
from roofline.view.table import cell_text

LOG = Series(
    path="runs/train.log",
    framework="megatron",
    steps=90,
    warm_up=10,
    first_step=11,
    last_step=100,
    step_time_s=2.0,
    step_time_p10_s=1.9,
    step_time_p90_s=2.2,
    tokens_per_s=8192.0,
    tokens_per_s_per_device=None,
    reported_mfu=0.415,
    global_batch=16,
    dips=(),
    lost=0.0,
    every=None,
    drift=0.0,
    verdict="steady.",
    notes=("two lines are cut off",),
)


def test_the_run_in_a_few_lines():
    (table,) = tables(LOG)
    rows = dict(table.rows)
    assert table.title == "train.log (megatron)"
    assert rows["Steps"] == "90 logged, up to step 100; the first 10 left out (warm-up)"
    assert rows["Step time"] == "2 s in the median, 1.9 s to 2.2 s (10 to 90 %)"
    assert rows["Throughput"] == "8,192 tokens/s (median)"
    assert (rows["Batch"], rows["Printed MFU"]) == ("16 sequences a step", "41.5 %")
    assert notes(LOG) == ["Two lines are cut off."]


def test_a_rate_of_one_device_says_so_and_what_is_not_logged_is_left_out():
    bare = msgspec.structs.replace(
        LOG, tokens_per_s=None, tokens_per_s_per_device=512.0, step_time_s=None, global_batch=None, reported_mfu=None
    )
    rows = dict(tables(bare)[0].rows)
    assert rows["Throughput"] == "512 tokens/s of each device (median)"
    assert {"Step time", "Batch", "Printed MFU"}.isdisjoint(rows)


def test_the_longest_steps_are_few():
    dips = tuple(Dip(step=step, step_time_s=6.0, factor=3.0) for step in range(20, 20 + MOST_DIPS + 2))
    table = tables(msgspec.structs.replace(LOG, dips=dips))[1]
    assert table.title == f"Longest steps ({MOST_DIPS} of {MOST_DIPS + 2})"
    assert [cell_text(cell) for cell in table.rows[0]] == ["20", "6 s", "3.0x"]
