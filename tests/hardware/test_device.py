"""What a device says of itself, in base units; what it has not is an error that says what to use."""

import msgspec
import pytest

from roofline.hardware import HardwareError, load_device


@pytest.mark.parametrize(
    ("device_id", "dtype", "instead"),
    [
        ("v100-sxm2-32gb", "bf16", "fp16"),
        ("t4", "bf16", "fp16"),
        ("a100-sxm-80gb", "fp8", "bf16"),
        ("h100-sxm-80gb", "fp4", "fp8"),
    ],
)
def test_a_missing_engine_is_an_error_that_says_what_to_use(device_id: str, dtype: str, instead: str) -> None:
    with pytest.raises(HardwareError, match=f"has no {dtype} engine .*use --dtype {instead}"):
        load_device(device_id).peak_flops_per_s(dtype)


def test_block_scaled_dtypes_use_the_engine_of_their_width() -> None:
    b200 = load_device("b200-sxm")
    assert b200.peak_flops_per_s("mxfp8") == b200.peak_flops_per_s("fp8")
    assert b200.peak_flops_per_s("nvfp4") == b200.peak_flops_per_s("mxfp4") == 9000e12
    with pytest.raises(HardwareError, match="unknown dtype"):
        b200.peak_flops_per_s("float16")


def test_base_units() -> None:
    h100 = load_device("h100-sxm-80gb")
    assert h100.peaks["bf16"] == 989.4e12
    assert h100.memory_bytes == 81559 * 2**20
    assert h100.memory_bandwidth_bytes_per_s == 3.35e12
    assert h100.scale_up_bytes_per_s == 450e9
    assert h100.network_bytes_per_s == 50e9  # 400 Gbit/s
    assert h100.clock_hz == 1830e6
    assert h100.tdp_w == 700
    assert h100.caches[1].bytes == 50 * 2**20
    assert h100.caches[1].bandwidth_bytes_per_s is None


def test_without_a_figure_there_is_none_or_an_error_that_names_the_option() -> None:
    l4 = load_device("l4")
    bare = msgspec.structs.replace(l4, links={}, node=None, power=None, clock=None)
    assert bare.tdp_w is None
    assert bare.clock_hz is None
    assert bare.devices_per_node == 1
    assert bare.scale_up_devices == 1
    with pytest.raises(HardwareError, match="no published link.*--link-bandwidth"):
        _ = bare.scale_up_bytes_per_s
    with pytest.raises(HardwareError, match="no network figure.*--network-bandwidth"):
        _ = bare.network_bytes_per_s
    with pytest.raises(HardwareError, match="no published peak for any dtype"):
        msgspec.structs.replace(l4, peak={}).peak_flops_per_s("bf16")


def test_a_board_without_bf16_says_what_becomes_of_it() -> None:
    with pytest.raises(HardwareError, match="has no bf16 engine .*emulates bf16 at about half.*use --dtype fp16"):
        load_device("rtx-2070").peak_flops_per_s("bf16")
