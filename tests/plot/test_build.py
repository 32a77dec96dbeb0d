"""What rooflines, waterfalls and captions are drawn from: figures of estimates."""

import math

import pytest

from roofline import plot
from roofline.answers.estimate import estimate
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.plot.build import points_of, roof_of


def test_a_roof_holds_every_dense_peak_with_its_ridge_point():
    device = load_device("h100-sxm-80gb")
    roof = roof_of(device, "bf16")
    by_dtype = {dtype: ceiling for ceiling in roof.ceilings for dtype in ceiling.dtypes}
    assert {dtype: ceiling.flops_per_s for dtype, ceiling in by_dtype.items()} == device.peaks
    assert roof.main.dtypes == ("fp16", "bf16")
    assert roof.main.ridge == pytest.approx(989.4e12 / 3.35e12)  # 295 FLOP/byte
    assert [ceiling.used for ceiling in roof.ceilings] == [False, True, False, False]


def test_cache_bandwidth_is_shown_only_where_known():
    assert [slope.level for slope in roof_of(load_device("a100-sxm-80gb")).slopes] == ["HBM2e", "L2"]
    assert [slope.level for slope in roof_of(load_device("h100-sxm-80gb")).slopes] == ["HBM3"]


def test_points_hold_all_flops_of_the_estimate_and_stay_under_the_roof(xl):
    points = points_of(xl)
    flops = sum(point.flops_per_s * point.seconds for point in points)
    assert flops == pytest.approx(sum(op.flops * op.runs for op in xl.ops), rel=1e-9)
    assert all(0 < point.flops_per_s <= point.ideal_flops_per_s * (1 + 1e-9) for point in points)
    bandwidth, peak = xl.device.memory_bandwidth_bytes_per_s, max(xl.device.peaks.values())
    assert all(point.ideal_flops_per_s <= 1.0001 * min(point.intensity * bandwidth, peak) for point in points)
    assert [point.share for point in points] == sorted((point.share for point in points), reverse=True)
    assert {"forward", "backward", "optimizer"} == {point.phase for point in points}


def test_backward_parts_of_an_op_are_one_point(xl):
    ups = [point for point in points_of(xl) if point.name == "mlp.up" and point.kind == "matmul"]
    assert sorted(point.phase for point in ups) == ["backward", "forward"]
    seconds = {point.phase: point.seconds for point in ups}
    parts = [op.expected_s for op in xl.ops if op.name in {"mlp.up.dgrad", "mlp.up.wgrad"}]
    assert seconds["backward"] == pytest.approx(sum(parts))


def test_an_estimate_over_arrays_is_refused():
    import numpy as np

    swept = estimate("gpt2", "h100-sxm-80gb", micro_batch=np.array([1.0, 2.0]))
    for build in (plot.roofline_data, plot.waterfall_data):
        with pytest.raises(RooflineError, match="one configuration"):
            build([swept])


def test_the_waterfall_sums_from_peak_to_mfu(pair):
    for panel, result in zip(plot.waterfall_data(pair).panels, pair, strict=True):
        assert 1 - math.fsum(term.lost for term in panel.terms) == pytest.approx(panel.mfu, abs=1e-12)
        assert panel.terms[-1].remaining == pytest.approx(panel.mfu, abs=1e-12)
        assert panel.mfu == result.mfu
        assert panel.mfu_low <= panel.mfu <= panel.mfu_high


def test_ceilings_that_training_does_not_use_leave_its_figure():
    (panel,) = plot.roofline_data([estimate("gpt2", "h100-sxm-80gb")]).panels
    shown = {dtype for ceiling in panel.roof.ceilings for dtype in ceiling.dtypes}
    assert not shown & {"fp64", "int8"}
    assert {"fp8", "bf16", "fp32"} <= shown


def test_caches_are_drawn_for_all_devices_or_none():
    alone = plot.roofline_data([estimate("gpt2", "a100-sxm-80gb")]).panels[0]
    assert [slope.level for slope in alone.roof.slopes] == ["HBM2e", "L2"]
    both = plot.roofline_data([estimate("gpt2", name) for name in ("a100-sxm-80gb", "h100-sxm-80gb")]).panels
    assert [len(panel.roof.slopes) for panel in both] == [1, 1]


def test_captions_name_optimizer_and_adapters():
    data = plot.roofline_data([estimate("gpt2", "h100-sxm-80gb", train="lora", lora_rank=8, optimizer="sgd")])
    assert "LoRA of rank 8" in data.title
    assert "sgd" in data.title
