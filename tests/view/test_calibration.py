"""What was measured on a machine, as it is read."""

import msgspec

from roofline.hardware import load_device
from roofline.hardware.calibrate.calibrate import Calibration
from roofline.hardware.calibrate.measure import Sample
from roofline.view.calibration import measured
from roofline.view.table import cell_text

CPU = load_device("epyc-9654")
DEVICE = msgspec.structs.replace(CPU, sources={**CPU.sources, "calibration": "by a test"}, spread=0.2)
SAMPLES = (
    # half of the fp32 peak; a stream at a tenth of the bandwidth
    Sample(
        group="gemm", name="matmul", dtype="fp32", flops=CPU.peaks["fp32"] / 2, bytes=1.0, shape=(1,), rounds=(1.0, 1.2)
    ),
    Sample(
        group="stream",
        name="copy",
        dtype="fp32",
        flops=0.0,
        shape=(1,),
        rounds=(1.0,),
        bytes=CPU.memory_bandwidth_bytes_per_s / 10,
        footprint=1e12,
    ),
)
DONE = Calibration(device=DEVICE, samples=SAMPLES, notes=("a note",), median_spread=0.1)


def test_rates_are_beside_the_peak_and_the_bandwidth():
    shown = measured(DONE, None, "local.toml", named="local", doubts=())
    matmul, copy = ([cell_text(cell) for cell in row] for row in shown.tables[0].rows)
    assert matmul[0] == "matmul"
    assert matmul[4:] == ["50 %", "18 %"]  # (1.2 - 1.0) over their median, 1.1
    assert copy[4] == "10 %"
    assert shown.data["file"] == "local.toml"
    assert shown.notes[-1].startswith("Written: local.toml. Use it with --device local")
    assert "Note: a note." in shown.notes


def test_a_file_that_was_not_written_says_why():
    shown = measured(DONE, None, "local.toml", named="local", doubts=("the machine was busy",))
    assert shown.data["file"] is None
    assert shown.notes[-1].startswith("NOT written to local.toml")
    assert "the machine was busy" in shown.notes[-1]
