"""Finding a device refuses to guess; the user's own figures and files are checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import hardware
from roofline.hardware import HardwareError, load_device, override
from roofline.hardware.lookup import by_driver_name, find, variants

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
        ("TPUv3", "tpu-v3"),
        ("TPUv4", "tpu-v4"),
        ("B300", "b300-sxm"),
        ("B300-SXM-270GB", "b300-sxm"),
        ("H800-SXM5-80GB", "h800-sxm-80gb"),
        ("H100-SXM5-80GB", "h100-sxm-80gb"),
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
    assert variants("B300") == ["b300-sxm"]
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
        override(H100, peak_tflops={"bf16": 1979})
    with pytest.raises(HardwareError, match="2:4-sparse figure"):
        override(load_device("rtx-a6000"), peak_tflops={"bf16": 309.7})
    with pytest.raises(HardwareError, match="fp16 accumulate"):
        override(load_device("rtx-4090"), peak_tflops={"bf16": 330})


def test_overrides_change_only_what_is_given_and_say_so() -> None:
    mine = override(H100, peak_tflops={"bf16": 800}, bandwidth_gb_per_s=3000, memory_gib=64, devices_per_node=4)
    assert mine.peaks["bf16"] == 800e12
    assert mine.peaks["fp16"] == H100.peaks["fp16"]
    assert mine.memory_bandwidth_bytes_per_s == 3e12
    assert mine.memory_bytes == 64 * 2**30
    assert mine.devices_per_node == 4
    assert len(mine.caveats) == len(H100.caveats) + 3
    assert override(H100) == H100
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
        ({"bandwidth_gb_per_s": 3.35}, r"--bandwidth 3.35: .*3350 GB/s: is it in TB/s\? give GB/s"),
        ({"peak_tflops": {"bf16": 0.99}}, r"--peak-tflops bf16=0.99: .*989.4 TFLOP/s: is it in PFLOP/s\?"),
        ({"memory_gib": 0.7}, r"is it in TiB\?"),
        ({"power_limit_w": 7e5}, "give W"),
    ],
)
def test_overrides_out_of_range_say_the_unit(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(HardwareError, match=message):
        override(H100, **overrides)  # type: ignore[arg-type]


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
        ("bf16 = {", "bf17 = {", r"peak.bf17: unknown key, did you mean 'bf16'\? \(allowed: bf16, "),
        ('kind = "gpu"', 'kind = "gpuu"', r"kind = 'gpuu': .*did you mean 'gpu'\? \(allowed: .*tpu\)"),
        (
            "tflops = 800",
            "tflops = 0.8",
            r"peak.bf16.tflops = 0.8: hopper devices .* 148 to 989.4: give dense",
        ),
        ("tflops = 800", "tflops = 5000", r"peak.bf16.tflops = 5000: hopper devices"),
        ('engine = "tensor core"', 'engine = " "', r"peak.bf16.engine = ' ': must not be empty"),
        ('name = "My H100"', 'name = "My\\nH100"', r"name = .*: must be text on one line"),
        ("gb_per_s = 3350", "gb_per_s = 3350, bus_bits = -1", r"bandwidth.bus_bits = -1: must be a positive"),
        (
            "gb_per_s = 3350",
            "gb_per_s = 335, bus_bits = 5120, clock_mhz = 2619",
            r"gb_per_s = 335: bus x clock is 3352",
        ),
        ('kind = "gpu"', 'kind = "gpu"\nvariant = "fast"', r"variant = 'fast': .*allowed: full"),
        (
            'kind = "gpu"',
            'kind = "gpu"\ncompute_capability = "nine"',
            r"compute_capability = 'nine': must be",
        ),
        ('kind = "gpu"', 'kind = "gpu"\nrelease_year = -2022', r"release_year = -2022: must be a positive"),
        (
            "[memory]\n",
            '[links]\nnvlink = { name = "x", gb_per_s = 450, source = "sheet" }\n[memory]\n',
            r"links.nvlink: unknown key.*\(allowed: .*scale_up\)$",
        ),
        (
            "[memory]\n",
            'fp32 = { tflops = 801, engine = "vector", source = "sheet", not_derived = "" }\n[memory]\n',
            r"peak.fp32.not_derived = '': give a reason",
        ),
        (
            "[memory]\n",
            'fp8 = { tflops = 700, engine = "tensor core", source = "sheet" }\n[memory]\n',
            r"peak.fp8.tflops = 700: not 2 x bf16 \(800\)",
        ),
        (
            'architecture = "hopper"',
            'architecture = "hopper"\nvariant = "full"\nunits = 132\nclock = { tensor_mhz = 1830, source = "sheet" }',
            r"peak.bf16.tflops = 800: units x FLOPs per cycle x clock is 989.4",
        ),
        ('id = "my-h100"', 'id = "my-h100"\ncolour = "red"', r"colour: unknown key"),
        ('id = "my-h100"', "id = ", r"not valid TOML"),
    ],
)
def test_own_file_mistakes_name_file_key_value_and_rule(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in OWN
    path = write(tmp_path, OWN.replace(old, new, 1))
    with pytest.raises(HardwareError, match=message) as error:
        load_device(path)
    assert str(error.value).startswith(path)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_before_a_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(OWN, encoding="utf-8-sig")
    assert load_device(str(path)).id == "my-h100"


GEMM = '[measured.gemm]\nsource = "sheet"\n'


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (f"{GEMM}cap = -0.5", r"measured.gemm.cap = -0.5: must be above 0 and at most 1"),
        (f"{GEMM}cap = nan", r"measured.gemm.cap = nan: must be above 0"),
        (f"{GEMM}cap = 2.0", r"measured.gemm.cap = 2: must be"),
        (f"{GEMM}p = 0", r"measured.gemm.p = 0: must be at least 1 and at most 20"),
        (f"{GEMM}t0_us = 1e12", r"measured.gemm.t0_us = 1000000000000: must be at least 0"),
        *(
            (f"{GEMM}{key} = 0.5", rf"measured.gemm.{key} = 0.5: must be at least 1")
            for key in ("misaligned", "misaligned_odd", "misaligned_batch", "wgrad")
        ),
        (f"{GEMM}capp = 0.5", r"measured.gemm.capp: unknown key, did you mean 'cap'\? \(allowed: "),
        (f'{GEMM}cap = "high"', r"measured.gemm.cap = 'high': expected `float`, got `str`"),
        ('[measured.gem]\nsource = "sheet"', r"measured.gem: unknown key, did you mean 'gemm'\?"),
        ('[measured.attention.flash9]\nsource = "sheet"', r"measured.attention.flash9: unknown key.*flash1"),
        ("[measured]\ngemm = 3", r"measured.gemm = 3: expected a table"),
        ("[measured]\nattention = 3", r"measured.attention = 3: expected a table"),
        (
            '[measured.memory_bound.softmax]\nbandwidth = 1.5\nsource = "sheet"',
            r"measured.memory_bound.softmax.bandwidth = 1.5: must be above 0 and at most 1",
        ),
        (
            '[measured.collective.all_reduce]\nfew_ranks = 2.0\nsource = "sheet"',
            r"all_reduce.few_ranks = 2: must be at least 0 and below 2",
        ),
        ('[measured.sustained]\ncompute = 0\nsource = "sheet"', r"sustained.compute = 0: must be above 0"),
    ],
)
def test_measured_figures_are_checked_in_an_own_file(tmp_path: Path, tables: str, message: str) -> None:
    path = write(tmp_path, f"{OWN}{tables}\n")
    with pytest.raises(HardwareError, match=message) as error:
        load_device(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_missing_sections_and_files(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match=r"memory: missing"):
        load_device(write(tmp_path, OWN.partition("[memory]")[0]))
    with pytest.raises(HardwareError, match="No such file"):
        load_device(str(tmp_path / "absent.toml"))
    with pytest.raises(HardwareError, match="is a folder"):
        load_device(f"{tmp_path}/")
