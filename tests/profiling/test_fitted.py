"""A device file from a trace's kernels holds the constants that made them."""

import pytest

from roofline.cli import main
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.profiling.fitted import fitted_device
from roofline.profiling.profile import profile

PEAK, BANDWIDTH = 989.4e12, 3.35e12  # of the H100
SHAPES = (
    (8192, 8192, 8192),
    (4096, 4096, 4096),
    (8192, 1024, 4096),
    (2048, 2048, 2048),
    (16384, 512, 512),
    (512, 512, 512),
)


@pytest.fixture
def trace(tmp_path, kineto):
    """Matmuls at 70 % of the peak or 80 % of the bandwidth after 3 us, and additions at 75 % of the bandwidth."""
    found = kineto()
    found.step(1, 0, 1e6)
    at = 0.0
    for m, n, k in SHAPES:
        moved = 2 * (m * k + k * n + m * n)
        time = 3 + 1e6 * max(2 * m * n * k / (0.7 * PEAK), moved / (0.8 * BANDWIDTH))
        found.run("aten::mm", "nvjet", at, at, time, dims=[[m, k], [k, n]])
        at += time + 10
    for rows in (4096, 8192):
        time = 1e6 * 3 * 2 * rows * 4096 / (0.75 * BANDWIDTH)
        found.run("aten::add", "vectorized_elementwise_kernel", at, at, time, dims=[[rows, 4096]] * 2)
        at += time + 10
    return found.write(tmp_path / "t.json")


def test_the_constants_are_found(trace):
    device, words = fitted_device(profile([trace]))
    gemm = device.measured_tables["gemm"]
    assert gemm["cap"] == pytest.approx(0.7, rel=0.06)
    assert gemm["mape"] < 5
    assert gemm["rows"] == len(SHAPES)
    assert device.measured_tables["memory_bound"]["elementwise"]["bandwidth"] == pytest.approx(0.75, rel=1e-3)
    assert device.id == "h100-sxm-80gb-profiled"
    assert any("gemm: 6 shapes" in word for word in words)


def test_the_file_is_a_device(trace, tmp_path, printed):
    path = tmp_path / "mine.toml"
    assert "Written" in printed("profile", str(trace), "--write-device", str(path))
    device = load_device(path)
    assert device.measured.gemm.origin == "device"
    assert "roofline profile" in device.sources["profile"]
    # the kernels it was made from are as expected on it
    result = profile([trace], str(path))
    ratios = [op.ratio for op in result.ops if op.kind == "matmul"]
    assert max(ratios) < 1.1
    assert min(ratios) > 0.9


def test_too_few_kernels_write_nothing(tmp_path, two_steps, refused):
    trace = two_steps().write(tmp_path / "t.json")
    with pytest.raises(RooflineError, match="too few kernels"):
        fitted_device(profile([trace]))
    assert main(["profile", str(trace), "--write-device", str(tmp_path / "mine.toml")]) == 2
    assert not (tmp_path / "mine.toml").exists()
    assert "ends in .toml" in refused("profile", str(trace), "--write-device", "mine.json")
