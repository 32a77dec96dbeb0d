"""Finding a device refuses to guess; the user's own figures and files are checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hardware
from hardware import HardwareError, load_device
from hardware.lookup import by_driver_name, find

H100 = load_device("h100-sxm-80gb")


@pytest.mark.parametrize(
    ("word", "device_id"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm-80gb"),
        ("nvidia h100 80gb hbm3", "h100-sxm-80gb"),
        ("H100 80GB HBM3", "h100-sxm-80gb"),
        ("A100-SXM4-40GB", "a100-sxm-40gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("NVIDIA H200", "h200-sxm-141gb"),
        ("NVIDIA GH200 480GB", "gh200-96gb"),
        ("NVIDIA GB300", "gb300"),
        ("Tesla T4", "t4"),
        ("H100-SXM_80GB", "h100-sxm-80gb"),
        ("h100-sxm5-80gb", "h100-sxm-80gb"),
        ("TPU v5", "tpu-v5p"),
        ("TPU v5 lite", "tpu-v5e"),
        ("A10", "a10"),
        ("L4", "l4"),
    ],
)
def test_exact_names_find_their_device(word: str, device_id: str) -> None:
    assert load_device(word).id == device_id


@pytest.mark.parametrize("word", ["h100", "a100", "H200", "v100", "a800", "epyc", "NVIDIA H100"])
def test_ambiguous_words_list_the_variants_and_ask(word: str) -> None:
    with pytest.raises(HardwareError, match=r"ambiguous device .*which one") as error:
        load_device(word)
    family = word.lower().removeprefix("nvidia ")
    assert all(f"'{i}'" in str(error.value) for i in hardware.device_ids() if i.startswith(f"{family}-"))


def test_a_token_inside_another_does_not_match() -> None:
    with pytest.raises(HardwareError) as error:
        load_device("B300")
    assert "'b300-sxm'" in str(error.value)
    assert "gb300" not in str(error.value)
    assert by_driver_name("NVIDIA B300") is None
    assert by_driver_name("NVIDIA L40S") is load_device("l40s")


def test_unknown_word_shows_the_nearest_and_the_remedy() -> None:
    with pytest.raises(
        HardwareError,
        match=r"unknown device 'h101': did you mean .*'h100-sxm-80gb'.*'roofline devices' lists all",
    ):
        load_device("h101")


@given(st.text(max_size=12))
def test_no_word_crashes(word: str) -> None:
    try:
        device = find(word)
    except HardwareError:
        return
    assert device.id in hardware.device_ids()


def test_sparse_figures_are_refused() -> None:
    with pytest.raises(HardwareError, match=r"2:4-sparse figure.*dense is 989.4"):
        H100.with_overrides(peak_tflops={"bf16": 1979})
    with pytest.raises(HardwareError, match="2:4-sparse figure"):
        load_device("rtx-a6000").with_overrides(peak_tflops={"bf16": 309.7})
    with pytest.raises(HardwareError, match="fp16 accumulate"):
        load_device("rtx-4090").with_overrides(peak_tflops={"bf16": 330})


def test_overrides_change_only_what_is_given_and_say_so() -> None:
    mine = H100.with_overrides(
        peak_tflops={"bf16": 800}, bandwidth_gb_per_s=3000, memory_gib=64, devices_per_node=4
    )
    assert mine.peaks["bf16"] == 800e12
    assert mine.peaks["fp16"] == H100.peaks["fp16"]
    assert mine.memory_bandwidth_bytes_per_s == 3e12
    assert mine.memory_bytes == 64 * 2**30
    assert mine.devices_per_node == 4
    assert len(mine.caveats) == len(H100.caveats) + 3
    assert H100.with_overrides() == H100
    assert mine.measured == H100.measured


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"peak_tflops": {"bf16": 989e12}}, "give TFLOP/s"),
        ({"peak_tflops": {"bf16": -1}}, "positive"),
        ({"peak_tflops": {"bf16": float("nan")}}, "positive"),
        ({"peak_tflops": {"bf17": 10}}, "unknown dtype"),
        ({"bandwidth_gb_per_s": 3.35e12}, "give GB/s"),
        ({"bandwidth_gb_per_s": 0}, "positive"),
        ({"memory_gib": 1e9}, "give MiB"),
        ({"tdp_w": 7e5}, "give W"),
    ],
)
def test_overrides_out_of_range_say_the_unit(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(HardwareError, match=message):
        H100.with_overrides(**overrides)  # type: ignore[arg-type]


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


OWN = """
id = "my-h100"
name = "My H100"
vendor = "NVIDIA"
kind = "gpu"
architecture = "hopper"
confidence = "medium"
[sources]
sheet = "my own sheet"
[peak]
bf16 = { tflops = 800, engine = "tensor core", source = "sheet" }
[memory]
type = "HBM3"
capacity = { mib = 81559, source = "sheet" }
bandwidth = { gb_per_s = 3350, source = "assumes the datasheet" }
"""


def write(folder: Path, text: str) -> str:
    path = folder / "my.toml"
    path.write_text(text)
    return str(path)


def test_own_file_works(tmp_path: Path) -> None:
    device = load_device(write(tmp_path, OWN))
    assert device.peak_flops_per_s("bf16") == 800e12
    assert device.measured.gemm.origin == "architecture"
    with pytest.raises(HardwareError, match="no published link"):
        _ = device.scale_up_bytes_per_s
    with pytest.raises(HardwareError, match="no network figure"):
        _ = device.network_bytes_per_s


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tflops = 800", "tflops = 1979", r"my.toml: peak.bf16.tflops = 1979.*sparse.*989.4"),
        ("tflops = 800", "tflops = 800e12", r"peak.bf16.tflops = 8.*give TFLOP/s"),
        ("tflops = 800", "tflops = -3", r"peak.bf16.tflops = -3.*positive"),
        (
            "tflops = 800",
            'tflops = "fast"',
            r"my.toml: peak.bf16.tflops = 'fast': expected `float`, got `str`",
        ),
        ("gb_per_s = 3350", "gb_per_s = 3350e9", r"memory.bandwidth.gb_per_s = .*give GB/s"),
        ("gb_per_s = 3350", "gb_per_s = 0.335", r"memory.bandwidth.gb_per_s = 0.335.*TB/s"),
        ("gb_per_s = 3350", "tb_per_s = 3.35", r"memory.bandwidth.tb_per_s: unknown key.*allowed: gb_per_s"),
        ("mib = 81559", "mib = 80", r"memory.capacity.mib = 80.*GiB"),
        (
            'source = "sheet" }\n[memory]',
            'source = "shet" }\n[memory]',
            r"peak.bf16.source = 'shet': no such key",
        ),
        (
            ', source = "sheet" }\n[memory]',
            " }\n[memory]",
            r"peak.*source: missing \(every figure names its source\)",
        ),
        ('[memory]\ntype = "HBM3"\n', "[memory]\n", r"memory.type: missing"),
        ('kind = "gpu"', 'kind = "gpgpu"', r"kind = 'gpgpu': invalid enum value"),
        (
            'architecture = "hopper"',
            'architecture = "hoper"',
            r"architecture = 'hoper': unknown; one of hopper",
        ),
        ("bf16 = {", "bf17 = {", r"peak = .*bf17|invalid enum value 'bf17'"),
        ('id = "my-h100"', 'id = "my-h100"\ncolour = "red"', r"colour: unknown key"),
        ('id = "my-h100"', "id = ", r"not valid TOML"),
    ],
)
def test_own_file_mistakes_name_file_key_value_and_rule(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in OWN
    path = write(tmp_path, OWN.replace(old, new, 1))
    with pytest.raises(HardwareError, match=message) as error:
        load_device(path)
    assert str(error.value).startswith(path)
    assert "\n" not in str(error.value)


def test_missing_sections_and_files(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match=r"memory: missing"):
        load_device(write(tmp_path, OWN.partition("[memory]")[0]))
    with pytest.raises(HardwareError, match="No such file"):
        load_device(str(tmp_path / "absent.toml"))
    with pytest.raises(HardwareError, match="is a folder"):
        load_device(f"{tmp_path}/")
