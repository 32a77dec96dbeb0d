"""Boards of known chips: peaks from the chip's rates, power classes of laptops, and rows that say what is wrong."""

import pytest

from roofline.hardware import HardwareError, boards, load_device
from roofline.hardware.catalog import heads
from roofline.hardware.database import ids

ROWS = boards.rows()


def test_some_250_boards_beside_the_device_files() -> None:
    assert len(ROWS) >= 250
    assert not set(ROWS) & set(ids("devices")), "a device has one home"


@pytest.mark.parametrize(
    ("device_id", "dtype", "tflops"),
    [
        ("rtx-4080", "bf16", 76 * 512 * 2505e-6),  # 97.5: GeForce halves fp32 accumulation
        ("rtx-2080-ti", "fp16", 68 * 512 * 1545e-6),  # 53.8
        ("titan-rtx", "fp16", 72 * 1024 * 1770e-6),  # 130.5: full rate
        ("rtx-5070-ti", "fp8", 70 * 1024 * 2452e-6),  # 175.8
        ("rtx-a5000", "bf16", 64 * 1024 * 1695e-6),  # 111.1
        ("p100-pcie-16gb", "fp16", 56 * 128 * 1303e-6),  # fp32 accumulation: the fp32 rate, not twice it
        ("gtx-1080-ti", "fp16", 28 * 256 * 1582e-6),  # fp32 math, not 1/64 of it
        ("gtx-1660-ti", "fp16", 24 * 16 * 1770e-6),  # 0.68: PyTorch reaches 0.61
        ("rx-9070-xt", "bf16", 64 * 1024 * 2970e-6),  # 194.6
        ("arc-b580", "bf16", 20 * 2048 * 2850e-6),
        ("jetson-agx-orin-64gb", "int8", 16 * 4096 * 1300e-6),  # 85.2 of the GPU
        ("apple-m5-gpu", "fp32", 10 * 256 * 1578e-6),  # 4.04
    ],
)
def test_peaks_are_units_times_rate_times_clock(device_id: str, dtype: str, tflops: float) -> None:
    assert load_device(device_id).peaks[dtype] / 1e12 == pytest.approx(tflops, rel=2e-3)


def test_what_the_chip_shares_and_what_the_board_has() -> None:
    board = load_device("rtx-4080")
    assert board.confidence == "high"
    assert board.compute_capability == "8.9"
    assert board.memory_bandwidth_bytes_per_s == 716.8e9
    assert board.memory_bytes == 16 * 2**30
    assert board.links["pcie"].gb_per_s == 31.5
    assert board.measured.gemm.origin == "architecture"
    assert load_device("rtx-a5000").links["bridge"].devices == 2
    assert load_device("mi308x").scale_up_devices == 8
    assert load_device("rtx-4060-laptop").devices_per_node == 1
    assert load_device("gb10").memory.unified


def test_boards_without_tensor_cores_train_in_the_dtype_that_is_faster() -> None:
    from roofline.config.defaults import default_dtype

    assert default_dtype(load_device("gtx-1660-ti")) == "fp32"
    assert default_dtype(load_device("rtx-2080-ti")) == "fp16"
    assert default_dtype(load_device("p40")) == "fp16"
    with pytest.raises(HardwareError, match="emulates bf16 at about half the fp32 rate"):
        load_device("gtx-1080-ti").peak_flops_per_s("bf16")


def test_a_laptop_between_two_power_classes() -> None:
    # 80 W: 1425 MHz at 14 Gbit/s; 115 W: 1702 MHz. 100 W: 1425 + 20/35 x 277 = 1583 MHz (1605 is printed)
    between = boards.at_power("rtx-3060-laptop", 100)
    assert between.boost_mhz == 1583
    assert between.gb_per_s == 336
    assert boards.at_power("rtx-3060-laptop", 60).gb_per_s == 288  # 12 Gbit/s up to 70 W
    assert boards.at_power("rtx-3060-laptop", 115).boost_mhz == 1702
    assert boards.power_classes("rtx-3060-laptop-80w") == (60, 115)
    with pytest.raises(HardwareError, match="at 200 W: its power classes reach from 60 to 115 W"):
        boards.at_power("rtx-3060-laptop", 200)
    with pytest.raises(HardwareError, match="no power classes"):
        boards.at_power("rtx-4080", 200)


def test_a_typed_power_class_is_the_board_at_that_power() -> None:
    typed = load_device("RTX 3060 Laptop 100W")
    assert typed.tdp_w == 100
    assert typed.peaks["bf16"] == pytest.approx(30 * 512 * 1583e6, rel=1e-3)
    assert any("60-115 W" in caveat for caveat in load_device("rtx-3060-laptop").caveats)


def test_confidence_is_said_and_low_has_its_reason() -> None:
    low = [head.id for head in heads().values() if head.confidence == "low" and head.id in ROWS]
    assert "ascend-910b3" in low
    assert all(load_device(name).caveats for name in low)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": "many"}, r"boards.csv, row rtx-4080: units = 'many': expected `int`, got `str`"),
        ({"units": "76.5"}, r"row rtx-4080: units = 76.5: expected `int`"),
        ({"colour": "black"}, r"row rtx-4080: colour: unknown key"),
        ({"kind": "server farm"}, r"row rtx-4080: kind = 'server farm': invalid enum value"),
        ({"gb_per_s": ""}, r"row rtx-4080: gb_per_s: missing"),
    ],
)
def test_a_cell_that_is_wrong_is_named(change: dict[str, str], message: str) -> None:
    row = {key: cell for key, cell in {**ROWS["rtx-4080"], **change}.items() if cell}
    with pytest.raises(HardwareError, match=message):
        boards.board(row)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pcie": "fast"}, "pcie = 'fast': give generation and lanes"),
        ({"pcie": "9.0 x16"}, "pcie = '9.0 x16'"),
        ({"matmul_tflops": "bf17=3"}, "matmul_tflops = 'bf17=3': give dtype=TFLOP/s"),
        ({"architecture": "adda"}, "unknown architecture 'adda': did you mean 'ada'"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(HardwareError, match=message):
        boards.figures(boards.board({**ROWS["rtx-4080"], **change}))
