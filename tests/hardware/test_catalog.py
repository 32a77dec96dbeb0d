"""Every device file of the catalog: sources, names, and figures that agree with one another."""

import subprocess
import sys

import pytest

from roofline import hardware
from roofline.hardware import boards, load_device
from roofline.hardware.catalog import heads
from roofline.hardware.check.consistency import derived_tflops
from roofline.hardware.check.rules import named_sources, problems
from roofline.hardware.database import architecture_ids, load_architecture
from roofline.hardware.device import Device
from roofline.hardware.sections import DTYPES

IDS = hardware.device_ids()
# Devices of the published training runs, in the spelling that the packaged validation data uses.
PUBLISHED = {
    *("a100-sxm-40gb", "a100-sxm-80gb", "b200-sxm", "b300-sxm", "gb200", "gb300", "h100-sxm-80gb"),
    *("h100-sxm-96gb-hbm2e", "h200-nvl-141gb", "h200-sxm-141gb", "mi300x", "mi325x", "mi350x", "mi355x"),
    *("rtx-4090", "rtx-a6000", "tpu-v5p", "tpu-v6e", "tpu-v7", "trainium1"),
    *("v100-sxm2-16gb", "v100-sxm2-32gb", "v100-sxm3-32gb"),
}


@pytest.fixture(params=IDS)
def device(request: pytest.FixtureRequest) -> Device:
    return load_device(request.param)


def test_devices_of_published_runs_are_all_there() -> None:
    assert set(IDS) >= PUBLISHED
    assert len(IDS) >= 113


def test_id_is_the_file_name_and_every_rule_holds(device: Device, request: pytest.FixtureRequest) -> None:
    assert device.id == request.node.callspec.params["device"]
    assert [str(problem) for problem in problems(device)] == []


def test_every_figure_names_a_source_that_resolves(device: Device) -> None:
    named = list(named_sources(device))
    assert named
    for key, source in named:
        assert source in device.sources or source.startswith(("assumes ", "derived ")), key
    used = {source for _, source in named}
    if device.id not in boards.rows():  # a board names every document that confirms its row
        assert set(device.sources) - used <= {"l2-bandwidth", "derived"}, "a source nobody names"


def test_every_peak_is_derived_or_says_why_not(device: Device) -> None:
    for dtype, peak in [*device.peak.items(), *((other.dtype, other) for other in device.other_peaks)]:
        assert peak.not_derived is not None or derived_tflops(device, dtype, peak) is not None, dtype


def test_measured_efficiencies_load_for_every_device(device: Device) -> None:
    assert 0 < device.measured.gemm.cap <= 1


def test_driver_names_and_aliases_name_one_device_each_but_for_boards() -> None:
    names = [
        word
        for head in heads().values()
        if head.vendor != "Apple" and head.id not in boards.rows()  # GPU and CPU of one chip have one name
        for word in {word.lower() for word in (*head.nvml_names, *head.aliases)}
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("key", architecture_ids())
def test_architecture_files_are_complete(key: str) -> None:
    architecture = load_architecture(key)
    for rates in architecture.flops_per_cycle.values():
        assert rates.source in architecture.sources
        assert any(getattr(rates, dtype) for dtype in DTYPES)
    if architecture.parent is not None:
        assert architecture.parent in architecture_ids()


def test_known_answers() -> None:
    assert load_device("rtx-4090").peaks["bf16"] == 165.2e12
    assert load_device("h100-sxm-80gb").peaks["bf16"] == 989.4e12
    assert load_device("mi250x-gcd").peaks["bf16"] == 191.5e12
    assert load_device("gb200").peaks["bf16"] == 2500e12
    assert load_device("b300-sxm").peaks["int8"] == 153.5e12
    assert load_device("a10g").peaks["bf16"] == 70e12
    # 81559 MiB x 2^20
    assert load_device("h100-sxm-80gb").memory_bytes == 81559 * 2**20
    assert load_device("a800-sxm-80gb").scale_up_bytes_per_s == 200e9
    assert load_device("gb200").scale_up_devices == 72
    assert load_device("h100-sxm-96gb-hbm2e").memory_bandwidth_bytes_per_s == 2.4e12


def test_one_device_is_read_alone_and_without_numpy() -> None:
    code = (
        "import sys, builtins, tomllib; real = builtins.open; read = []\n"
        "def spy(path, *a, **k):\n    read.append(str(path)); return real(path, *a, **k)\n"
        "builtins.open = spy\n"
        "from roofline import hardware; hardware.load_device('h100-sxm-80gb').peak_flops_per_s('bf16')\n"
        "print(['/'.join(p.split('/')[-2:]) for p in sorted(read) if p.endswith('.toml')])\n"
        "print([m for m in ('numpy', 'pynvml', 'psutil', 'archspec', 'pandas') if m in sys.modules])\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    files = ["architectures/default.toml", "architectures/hopper.toml", "devices/h100-sxm-80gb.toml"]
    assert output[:2] == [str(files), "[]"]


@pytest.mark.parametrize(("less", "more"), [("v100-sxm2-32gb", "v100-sxm3-32gb"), ("gb200", "gb300")])
def test_the_sustained_rate_at_one_peak_follows_the_cube_root_of_power(less, more):
    first, second = load_device(less), load_device(more)
    ratio = second.measured.sustained.compute / first.measured.sustained.compute
    assert second.peaks["fp16"] == first.peaks["fp16"]
    assert ratio == pytest.approx((second.power.tdp_w / first.power.tdp_w) ** (1 / 3), rel=0.01)
