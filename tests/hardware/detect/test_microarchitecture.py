"""Names of microarchitectures from the numbers that /proc/cpuinfo prints."""

import pytest

from roofline.hardware.database import architecture_ids, load_architecture
from roofline.hardware.detect.microarchitecture import _AMD, _ARM_PARTS, _INTEL, by_archspec, by_numbers


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ({"vendor_id": "AuthenticAMD", "cpu family": "25", "model": "1"}, "zen3"),
        ({"vendor_id": "AuthenticAMD", "cpu family": "26", "model": "2"}, "zen5"),
        ({"vendor_id": "GenuineIntel", "cpu family": "6", "model": "85", "stepping": "4"}, "skylake_avx512"),
        ({"vendor_id": "GenuineIntel", "cpu family": "6", "model": "85", "stepping": "7"}, "cascadelake"),
        ({"CPU implementer": "0x41", "CPU part": "0xd4f"}, "neoverse_v2"),
        ({"vendor_id": "GenuineIntel", "cpu family": "6", "model": "9999"}, None),
        ({}, None),
    ],
)
def test_model_numbers(info: dict[str, str], name: str | None) -> None:
    assert by_numbers(info) == name


def test_every_name_has_an_architecture_file() -> None:
    known = {name for key in architecture_ids() for name in load_architecture(key).archspec}
    names = {*_ARM_PARTS.values(), *_INTEL.values(), *(name for ranges in _AMD.values() for _, name in ranges)}
    assert names <= known


def test_archspec_names_this_machine_or_nothing() -> None:
    name = by_archspec()
    assert name is None or name.strip() == name
