"""A user's own figures: the catalog's own changes nothing, a better one never makes anything slower."""

import itertools

import numpy as np
import pytest

import roofline
from roofline.hardware import HardwareError, all_devices, boards, load_device
from roofline.hardware.overrides import override

# Every device with a file of its own, and a board of each variant of a chip; those whose 16-bit peak is not published
# cannot train.
ONE_OF_A_KIND = {
    device.id if device.id not in boards.rows() else (device.architecture, device.variant): device
    for device in all_devices()
    if device.peak.keys() & {"bf16", "fp16", "fp32"}
}
DEVICES = list(ONE_OF_A_KIND.values())
LAYOUTS = (
    {"num_devices": 1, "micro_batch": 4},
    {"num_devices": 8, "tp": 8, "micro_batch": 4},
    {"num_devices": 8, "sharding": "fsdp", "micro_batch": 2},
    {"num_devices": 64, "tp": 2, "pp": 4, "global_batch": 64},
)
BETTER = 1.07  # no device's sparse or otherwise wrong figure is this many times its dense one


def figures_of(device, factor=1.0):
    """Every option of `override` that this device has a figure for, times `factor`."""
    figures = {
        "peak_tflops": {dtype: peak.tflops * factor for dtype, peak in device.peak.items()},
        "bandwidth_gb_per_s": device.memory.bandwidth.gb_per_s * factor,
        "memory_gib": device.memory.capacity.mib / 1024 * factor,
    }
    link = device.links.get("scale_up") or device.links.get("pcie")
    if link is not None:
        figures["link_gb_per_s"] = link.gb_per_s * factor
    if device.node is not None and device.node.network_gbit_per_s is not None:
        figures["network_gbit_per_s"] = device.node.network_gbit_per_s * factor
    if device.node is not None and factor == 1:
        figures["devices_per_node"] = device.node.devices
    if device.tdp_w is not None and factor == 1:
        figures["power_limit_w"] = device.tdp_w
    return figures


def answers(device, **more):
    """Seconds and bytes of a small model in several layouts; None where the device has no link for one."""
    dtype = next((name for name in ("bf16", "fp16", "fp32") if name in device.peaks), next(iter(device.peaks)))
    found = []
    for layout in LAYOUTS:
        options = {"dtype": dtype, "seq_len": 512, "stack": "nemo", **layout, **more}
        try:
            result = roofline.estimate("gpt2-medium", device, **options)
        except HardwareError as error:
            assert "no published link" in str(error) or "no network figure" in str(error)  # noqa: PT017
            found.append(None)
        else:
            found.append((result.step_time_s, result.ideal_step_time_s, result.fits))
    return found


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.id)
def test_the_catalogs_own_figure_changes_nothing(device):
    for option, figure in figures_of(device).items():
        assert override(device, **{option: figure}) is device, option


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.id)
def test_a_better_figure_is_never_slower_and_never_fits_less(device):
    before = answers(device)
    for option, figure in figures_of(device, BETTER).items():
        after = answers(override(device, **{option: figure}))
        for layout, old, new in zip(LAYOUTS, before, after, strict=True):
            if old is None:
                assert new is None, (option, layout)
                continue
            assert new[0] <= old[0] * (1 + 1e-12), (option, layout)
            assert new[1] <= old[1] * (1 + 1e-12), (option, layout)
            assert new[2] >= old[2], (option, layout)


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.id)
def test_the_usual_node_and_network_given_again_change_nothing(device):
    same = {"devices_per_node": device.devices_per_node}
    if device.node is not None and device.node.network_gbit_per_s is not None:
        same["network_gbit_per_s"] = device.node.network_gbit_per_s
    assert answers(device, **same) == answers(device)


def test_a_link_keeps_what_it_joins_and_how_much_of_it_is_reached():
    card = override(load_device("rtx-4090"), link_gb_per_s=63)
    assert set(card.links) == {"pcie"}
    assert card.links["pcie"].gb_per_s == 63
    server = override(load_device("h100-sxm-80gb"), link_gb_per_s=225)
    assert (server.links["scale_up"].gb_per_s, server.links["scale_up"].devices) == (225, 8)
    assert "NVLink4 18x25 link 225 GB/s one way is yours (the catalog has 450)" in server.caveats[-1]


def test_where_no_link_is_published_the_given_one_joins_the_node():
    sockets = override(load_device("epyc-9654"), link_gb_per_s=50)
    assert sockets.links["scale_up"].devices == sockets.devices_per_node == 2


def test_a_faster_network_is_never_slower():
    for slow, fast in itertools.pairwise((50, 100, 400)):
        times = [answers(load_device("l40s"), network_gbit_per_s=rate)[-1][0] for rate in (slow, fast)]
        assert times[1] <= times[0]


def test_sparse_figures_are_refused() -> None:
    with pytest.raises(HardwareError, match=r"2:4-sparse figure.*dense is 989.4"):
        override(load_device("h100-sxm-80gb"), peak_tflops={"bf16": 1979})
    with pytest.raises(HardwareError, match="2:4-sparse figure"):
        override(load_device("rtx-a6000"), peak_tflops={"bf16": 309.7})
    with pytest.raises(HardwareError, match="fp16 accumulate"):
        override(load_device("rtx-4090"), peak_tflops={"bf16": 330})


def test_overrides_change_only_what_is_given_and_say_so() -> None:
    mine = override(
        load_device("h100-sxm-80gb"),
        peak_tflops={"bf16": 800},
        bandwidth_gb_per_s=3000,
        memory_gib=64,
        devices_per_node=4,
    )
    assert mine.peaks["bf16"] == 800e12
    assert mine.peaks["fp16"] == load_device("h100-sxm-80gb").peaks["fp16"]
    assert mine.memory_bandwidth_bytes_per_s == 3e12
    assert mine.memory_bytes == 64 * 2**30
    assert mine.devices_per_node == 4
    assert len(mine.caveats) == len(load_device("h100-sxm-80gb").caveats) + 3
    assert override(load_device("h100-sxm-80gb")) == load_device("h100-sxm-80gb")
    assert mine.measured == load_device("h100-sxm-80gb").measured


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"peak_tflops": {"bf16": 989e12}}, "give TFLOP/s"),
        ({"peak_tflops": {"bf16": -1}}, "positive"),
        ({"peak_tflops": {"bf16": float("nan")}}, "positive"),
        ({"peak_tflops": {"bf17": 10}}, "unknown dtype"),
        ({"bandwidth_gb_per_s": 3.35e12}, "give GB/s"),
        ({"bandwidth_gb_per_s": 0}, "positive"),
        ({"memory_gib": 1e9}, r"--memory = \S+: too large \(give the unit, such as 80GiB\)"),
        ({"memory_gib": 1e-9}, r"--memory = \S+: too small \(give the unit, such as 80GiB\)"),
        ({"bandwidth_gb_per_s": 3.35}, r"--bandwidth 3.35: .*3350 GB/s: is it in TB/s\? give GB/s"),
        ({"peak_tflops": {"bf16": 0.99}}, r"--peak-tflops bf16=0.99: .*989.4 TFLOP/s: is it in PFLOP/s\?"),
        ({"memory_gib": 0.7}, r"is it in TiB\?"),
        ({"power_limit_w": 7e5}, "give W"),
    ],
)
def test_overrides_out_of_range_say_the_unit(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(HardwareError, match=message):
        override(load_device("h100-sxm-80gb"), **overrides)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.float16])
def test_narrow_numbers_of_numpy_are_numbers(dtype: type) -> None:
    device = load_device("h100-sxm-80gb")
    figures = {"memory_gib": 100, "link_gb_per_s": 100, "devices_per_node": 4, "network_gbit_per_s": 100}
    plain = override(device, peak_tflops={"bf16": 120}, bandwidth_gb_per_s=1000, **figures)  # type: ignore[arg-type]
    narrow = {name: dtype(value) for name, value in figures.items()}
    found = override(device, peak_tflops={"bf16": dtype(120)}, bandwidth_gb_per_s=np.float16(1000), **narrow)
    assert found == plain
