"""The one door: what a word, a path or a device becomes."""

import subprocess
import sys

import pytest

from roofline.hardware import HardwareError, load_device

# 200 spellings of people; None asks back.
SPELLINGS = {
    **dict.fromkeys(("4090", "rtx4090", "RTX 4090", "GeForce RTX 4090", "NVIDIA RTX 4090", "rtx_4090"), "rtx-4090"),
    **dict.fromkeys(("3080", "RTX 3080", "rtx3080", "NVIDIA GeForce RTX 3080", "GeForce RTX 3080"), "rtx-3080"),
    **dict.fromkeys(("3060 Ti", "3060ti", "rtx 3060ti", "RTX 3060 Ti"), "rtx-3060-ti"),
    **dict.fromkeys(("5090", "rtx5090", "RTX 5090"), "rtx-5090"),
    **dict.fromkeys(("4070 Ti Super", "rtx 4070 ti super", "4070tisuper"), "rtx-4070-ti-super"),
    **dict.fromkeys(("4080", "RTX 4080"), "rtx-4080"),
    **dict.fromkeys(("4080 super", "RTX 4080 SUPER"), "rtx-4080-super"),
    **dict.fromkeys(("2080 Ti", "2080ti", "RTX 2080 Ti"), "rtx-2080-ti"),
    **dict.fromkeys(("1080 Ti", "gtx1080ti", "GTX 1080 Ti"), "gtx-1080-ti"),
    **dict.fromkeys(("1660 Ti", "GTX 1660 Ti"), "gtx-1660-ti"),
    **dict.fromkeys(("4090 laptop", "RTX 4090 Mobile", "RTX 4090 Laptop GPU", "4090 notebook"), "rtx-4090-laptop"),
    **dict.fromkeys(("3060 laptop", "RTX 3060 Laptop", "NVIDIA GeForce RTX 3060 Laptop GPU"), "rtx-3060-laptop"),
    **dict.fromkeys(("A6000", "RTX A6000", "rtxa6000", "NVIDIA RTX A6000"), "rtx-a6000"),
    **dict.fromkeys(("6000 Ada", "RTX 6000 Ada", "RTX 6000 Ada Generation"), "rtx-6000-ada"),
    **dict.fromkeys(("A5000", "RTX A5000"), "rtx-a5000"),
    **dict.fromkeys(("A40", "NVIDIA A40", "a40"), "a40"),
    **dict.fromkeys(("L40S", "NVIDIA L40S", "l40s"), "l40s"),
    **dict.fromkeys(("L4", "NVIDIA L4"), "l4"),
    **dict.fromkeys(("T4", "Tesla T4", "NVIDIA T4"), "t4"),
    **dict.fromkeys(("A10G", "NVIDIA A10G"), "a10g"),
    **dict.fromkeys(("H100 SXM", "H100 SXM5", "h100-sxm", "H100-SXM5-80GB", "NVIDIA H100 80GB HBM3"), "h100-sxm-80gb"),
    **dict.fromkeys(("H100 PCIe", "h100-pcie", "NVIDIA H100 PCIe"), "h100-pcie-80gb"),
    **dict.fromkeys(("H100 NVL", "h100nvl", "NVIDIA H100 NVL"), "h100-nvl-94gb"),
    **dict.fromkeys(("H100 96GB", "h100-sxm-96gb"), "h100-sxm-96gb-hbm2e"),
    **dict.fromkeys(("A100 80GB SXM", "A100-SXM4-80GB", "a100 sxm4 80gb", "NVIDIA A100-SXM4-80GB"), "a100-sxm-80gb"),
    **dict.fromkeys(("A100 40GB SXM", "NVIDIA A100-SXM4-40GB"), "a100-sxm-40gb"),
    **dict.fromkeys(("A100 PCIe 80GB", "NVIDIA A100 80GB PCIe"), "a100-pcie-80gb"),
    **dict.fromkeys(("H200 SXM", "H200 SXM 141GB", "NVIDIA H200"), "h200-sxm-141gb"),
    **dict.fromkeys(("B200", "NVIDIA B200", "b200 sxm"), "b200-sxm"),
    **dict.fromkeys(("B300", "b300-sxm"), "b300-sxm"),
    **dict.fromkeys(("GB200", "NVIDIA GB200"), "gb200"),
    **dict.fromkeys(("GB200 NVL72", "gb200-nvl72"), "gb200"),
    **dict.fromkeys(("GB10", "NVIDIA GB10", "DGX Spark"), "gb10"),
    **dict.fromkeys(("V100 SXM2 32GB", "Tesla V100-SXM2-32GB"), "v100-sxm2-32gb"),
    **dict.fromkeys(("P40", "Tesla P40"), "p40"),
    **dict.fromkeys(("TITAN RTX", "titan-rtx"), "titan-rtx"),
    **dict.fromkeys(("Titan Xp", "titanxp"), "titan-xp"),
    **dict.fromkeys(("AGX Orin 64GB", "Jetson AGX Orin 64GB"), "jetson-agx-orin-64gb"),
    **dict.fromkeys(("Orin NX 16GB",), "jetson-orin-nx-16gb"),
    **dict.fromkeys(("MI300X", "mi300x", "AMD Instinct MI300X", "Instinct MI300X"), "mi300x"),
    **dict.fromkeys(("MI355X", "mi355x"), "mi355x"),
    **dict.fromkeys(("MI210", "AMD Instinct MI210"), "mi210"),
    **dict.fromkeys(("7900 XTX", "7900xtx", "RX 7900 XTX", "Radeon RX 7900 XTX"), "rx-7900-xtx"),
    **dict.fromkeys(("9070 XT", "RX 9070 XT", "rx9070xt"), "rx-9070-xt"),
    **dict.fromkeys(("Radeon VII", "radeon vii"), "radeon-vii"),
    **dict.fromkeys(("W7900", "Radeon Pro W7900"), "radeon-pro-w7900"),
    **dict.fromkeys(("Strix Halo", "8060S", "Radeon 8060S"), "radeon-8060s"),
    **dict.fromkeys(("B580", "Arc B580", "arcb580"), "arc-b580"),
    **dict.fromkeys(("Gaudi 3", "gaudi3", "Gaudi-3", "Intel Gaudi 3"), "gaudi3"),
    **dict.fromkeys(("Gaudi 2", "gaudi2"), "gaudi2"),
    **dict.fromkeys(("v5e", "TPU v5e", "tpuv5e", "TPU v5 lite"), "tpu-v5e"),
    **dict.fromkeys(("v5p", "TPU v5p"), "tpu-v5p"),
    **dict.fromkeys(("v6e", "Trillium", "TPU v6e"), "tpu-v6e"),
    **dict.fromkeys(("v4", "TPU v4"), "tpu-v4"),
    **dict.fromkeys(("Trainium 2", "trainium2", "Trn2"), "trainium2"),
    **dict.fromkeys(("Trainium1", "Trainium 1"), "trainium1"),
    **dict.fromkeys(("910B2", "Ascend 910B2"), "ascend-910b2"),
    **dict.fromkeys(("M3 Max", "m3 max", "Apple M3 Max"), "apple-m3-max-gpu"),
    **dict.fromkeys(("M4", "Apple M4"), "apple-m4-gpu"),
    **dict.fromkeys(("M1 Ultra", "apple m1 ultra"), "apple-m1-ultra-gpu"),
    **dict.fromkeys(("M3 Max CPU",), "apple-m3-max-cpu"),
    **dict.fromkeys(("i9-14900K", "i9 14900k", "Core i9-14900K", "14900K"), "core-i9-14900k"),
    **dict.fromkeys(("9950X", "Ryzen 9 9950X", "ryzen 9950x"), "ryzen-9-9950x"),
    **dict.fromkeys(("EPYC 9654", "9654", "AMD EPYC 9654"), "epyc-9654"),
    **dict.fromkeys(("Xeon Platinum 8480+", "xeon 8480+", "8480+", "xeon 8480"), "xeon-platinum-8480plus"),
    **dict.fromkeys(("Graviton4", "AWS Graviton4"), "graviton4"),
    **dict.fromkeys(("H100", "h100", "NVIDIA H100", "A100", "A100 80GB", "V100", "H200", "H20", "GH200", "8xH100")),
    **dict.fromkeys(
        ("Orin", "Jetson Thor", "RTX PRO 6000", "MI300", "MI250X", "A770", "3050", "9060 XT", "Ascend 910B")
    ),
    **dict.fromkeys(("foo", "rtx-9090", "rtx-3061", "GB11", "B400", "i9", "nvidia", "")),
}


def test_two_hundred_spellings() -> None:
    assert len(SPELLINGS) >= 200
    found: dict[str, str | None] = {}
    for word in SPELLINGS:
        try:
            found[word] = load_device(word).id
        except HardwareError:
            found[word] = None
    assert {word: got for word, got in found.items() if got != SPELLINGS[word]} == {}


@pytest.mark.parametrize(
    ("word", "said"),
    [("4090", True), ("i9-14900K", True), ("RTX 4090", False), ("NVIDIA H100 80GB HBM3", False), ("Gaudi 3", False)],
)
def test_a_reading_is_said_and_a_name_is_not(word: str, said: bool) -> None:
    device = load_device(word)
    assert (f"'{word}' is read as {device.id}" in device.caveats) is said


@pytest.mark.parametrize(
    ("word", "other_family"),
    [("rtx-3061", "b300"), ("GB11", "b100"), ("h101", "rtx"), ("B400", "rtx"), ("rx-6749", "h100"), ("M9", "mi300x")],
)
def test_a_hint_never_crosses_families(word: str, other_family: str) -> None:
    with pytest.raises(HardwareError) as error:
        load_device(word)
    assert other_family not in str(error.value)


def test_cpu_is_this_machines() -> None:
    device = load_device("cpu")
    assert device.kind == "cpu"
    assert device.id == "local"


@pytest.mark.parametrize(
    ("word", "count", "device_id"),
    [("8xH100 SXM", 8, "h100-sxm-80gb"), ("8x h100-sxm-80gb", 8, "h100-sxm-80gb"), ("16 × 4090", 16, "rtx-4090")],
)
def test_a_number_of_devices(word: str, count: int, device_id: str) -> None:
    device = load_device(word)
    assert (device.num_devices, device.id) == (count, device_id)


def test_a_number_that_cannot_be() -> None:
    with pytest.raises(HardwareError, match="'0x l4': a number of devices is 1 to"):
        load_device("0x l4")


def test_a_mig_slice_by_name() -> None:
    part, whole = load_device("NVIDIA A100-SXM4-40GB MIG 3g.20gb"), load_device("a100-sxm-40gb")
    assert part.peaks["bf16"] == pytest.approx(whole.peaks["bf16"] * 42 / 108)
    with pytest.raises(HardwareError, match="no such MIG profile is known of L4"):
        load_device("L4 MIG 1g.6gb")


def test_an_id_reads_no_table_and_a_board_reads_one() -> None:
    code = (
        "import builtins, sys; real = builtins.open; read = []\n"
        "def spy(path, *a, **k):\n    read.append(str(path)); return real(path, *a, **k)\n"
        "builtins.open = spy\n"
        "from roofline.hardware import load_device; load_device(sys.argv[1]).peak_flops_per_s('bf16')\n"
        "print(sorted(p.rpartition('/')[2] for p in read if p.endswith(('.toml', '.csv'))))\n"
    )
    expected = {
        "h100-sxm-80gb": ["default.toml", "h100-sxm-80gb.toml", "hopper.toml"],
        "rtx-4080": ["ada.toml", "boards.csv", "default.toml", "hosts.toml"],
    }
    for word, files in expected.items():
        done = subprocess.run([sys.executable, "-c", code, word], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(files)


def test_a_name_as_long_as_a_book_is_unknown_at_once() -> None:
    with pytest.raises(HardwareError, match=r"unknown device '9+'\.\.\.: 'roofline devices' lists all"):
        load_device("9" * 1_000_000)  # its square would take hours
