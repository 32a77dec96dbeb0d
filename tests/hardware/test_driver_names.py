"""Driver names that stand for several boards: PCI id, cores, memory and power tell them apart."""

import pytest

from roofline.hardware import boards
from roofline.hardware.catalog import heads
from roofline.hardware.driver_names import by_driver_name, sharing

GIB = 2**30
SHARED = sorted({name for head in heads().values() for name in head.nvml_names if len(sharing(name)) > 1})


def test_forty_names_stand_for_several_boards() -> None:
    assert len(SHARED) >= 40
    assert "Orin" in SHARED


@pytest.mark.parametrize(
    ("name", "reported", "device_id"),
    [
        ("NVIDIA GeForce RTX 3080", {"memory_bytes": 10 * GIB}, "rtx-3080"),
        ("NVIDIA GeForce RTX 3080", {"memory_bytes": int(11.75 * GIB)}, "rtx-3080-12gb"),
        ("NVIDIA GeForce RTX 3080", {"cuda_cores": 70 * 128, "memory_bytes": 12 * GIB}, "rtx-3080-12gb"),
        ("NVIDIA GeForce RTX 4060 Ti", {"memory_bytes": 16 * GIB}, "rtx-4060-ti-16gb"),
        ("NVIDIA GeForce RTX 4060 Ti", {"memory_bytes": 8188 * 2**20}, "rtx-4060-ti-8gb"),
        ("NVIDIA GeForce RTX 3050", {"cuda_cores": 18 * 128}, "rtx-3050-6gb"),
        ("NVIDIA GeForce RTX 2060", {"pci_id": "1F03"}, "rtx-2060-12gb"),
        ("NVIDIA GeForce RTX 2060", {"pci_id": "1f03", "memory_bytes": 6 * GIB}, "rtx-2060-12gb"),
        ("Orin", {"cuda_cores": 14 * 128}, "jetson-agx-orin-32gb"),
        ("GeForce RTX 4080", {}, "rtx-4080"),
    ],
)
def test_what_else_a_driver_reports_decides(name: str, reported: dict[str, object], device_id: str) -> None:
    found = by_driver_name(name, **reported)  # type: ignore[arg-type]
    assert found is not None
    assert found.id == device_id


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 3080", "Orin", "no such GPU", ""])
def test_without_it_nothing_is_guessed(name: str) -> None:
    assert by_driver_name(name) is None


def test_a_laptops_power_limit_places_it_between_its_classes() -> None:
    name = "NVIDIA GeForce RTX 4070 Laptop GPU"
    low, high = (by_driver_name(name, power_limit_w=watts) for watts in (35, 115))
    between, beyond, below = (by_driver_name(name, power_limit_w=watts) for watts in (75, 140, 20))
    assert low is not None
    assert high is not None
    assert between is not None
    assert beyond == high
    assert below == low
    # halfway: (1230 + 2175) / 2 MHz
    assert between.clock_hz == pytest.approx(1702.5e6, abs=1e6)
    assert by_driver_name(name) == high, "the highest class, whose caveat says so"


def test_every_pci_id_belongs_to_a_board_of_its_name() -> None:
    for key, row in boards.rows().items():
        for pci_id in row.get("pci_ids", "").split():
            assert len(pci_id) == 4, key
            int(pci_id, 16)
