"""An estimate as it is read: what comes first, figures that add up, one row for programs."""

import pytest

import roofline
from roofline.view import estimate as view
from roofline.view.table import cell_text

FITS = roofline.estimate("gpt2", "a100-sxm-80gb", micro_batch=8, stack="compiled")
TOO_LARGE = roofline.estimate("gpt2", "t4", micro_batch=64, stack="compiled")


def heads(result):
    return [table.title or table.columns[0] for table in view.tables(result)]


def test_memory_and_what_makes_it_fit_come_before_the_rest_where_it_does_not_fit():
    assert heads(FITS)[1] == "From peak to MFU"
    assert heads(TOO_LARGE)[1:3] == ["memory per device", "cheapest changes that make it fit"]
    assert "does not fit" in view.pieces(TOO_LARGE)[0].lower()


def test_the_waterfall_goes_from_the_peak_to_the_mfu():
    rows = view.waterfall_table(FITS).rows
    assert cell_text(rows[0][0]) == "dense peak"
    assert rows[-1][-1].value == pytest.approx(FITS.mfu, abs=2e-3)
    lost = sum(row[2].value for row in rows[1:])
    assert 1 - lost == pytest.approx(FITS.mfu, abs=2e-3)  # causes below 0.05 % of the step are not shown


def test_the_summary_divides_tokens_by_seconds():
    rows = dict(view.summary_table(FITS).rows)
    rate = 8 * 1024 / FITS.step_time_s
    assert rows["Throughput"].startswith(f"{rate:,.0f} tokens/s; 1B tokens take ")
    assert view.mfu_words(FITS).endswith("of the bf16 peak")
    assert view.bound_words(FITS).startswith(f"{FITS.bound} (")


def test_low_precision_is_also_told_against_the_bf16_peak():
    result = roofline.estimate("gpt2", "h100-sxm-80gb", micro_batch=8, dtype="fp8")
    peaks = result.device.peaks
    other = result.mfu * peaks["fp8"] / peaks["bf16"]
    assert view.mfu_words(result).endswith(f"{100 * other:.1f} % of the bf16 peak")


def test_ops_are_the_costliest_first_beside_the_ridge_point():
    table = view.ops_table(FITS, 5)
    shares = [row[5].value for row in table.rows]
    assert shares == sorted(shares, reverse=True)
    assert len(shares) == 5
    assert table.title == "Costliest ops (ridge point of bf16: 153 FLOP/byte)"  # 312e12 / 2.039e12


def test_one_flat_row_has_every_part_of_memory():
    record = view.record(FITS)
    parts = [value for name, value in record.items() if name.startswith("memory_") and name.endswith("_bytes")]
    assert record["memory_total_bytes"] == FITS.memory.total_bytes
    assert len(parts) > 5
    assert (record["model"], record["device"], record["micro_batch"]) == ("gpt2", "a100-sxm-80gb", 8)


def test_arrays_are_a_row_a_case():
    result = roofline.estimate("gpt2", "a100-sxm-80gb", micro_batch=[1, 8], stack="compiled")
    (table,) = view.tables(result)
    assert [row[0] for row in table.rows] == [1, 8]
    assert len(view.records(result).rows) == 2


def test_a_step_that_waits_says_for_what():
    # one micro batch of a pipeline of 8: seven eighths of the step are bubble
    piped = roofline.estimate("gpt2-xl", "h100-sxm-80gb", num_devices=8, pp=8, micro_batch=1, global_batch=1)
    assert piped.bound == "latency"
    assert view.bound_words(piped).endswith("of the step, mostly pipeline bubble)")
    # 64 tokens in eager PyTorch: the host launches more slowly than the device runs
    small = roofline.estimate("gpt2", "h100-sxm-80gb", micro_batch=1, seq_len=64, stack="eager")
    assert small.bound == "latency"
    assert view.bound_words(small).endswith("of the step, mostly waiting for kernel launches)")


def test_a_step_that_computes_waits_for_nothing():
    busy = roofline.estimate("gpt2-xl", "h100-sxm-80gb", micro_batch=8)
    assert busy.bound == "compute"
    assert view.bound_words(busy).startswith("compute (")
    assert "mostly" not in view.bound_words(busy)
