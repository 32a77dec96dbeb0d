"""The host beside a device: its link, and the memory that devices of a node share."""

import pytest

from roofline.hardware import load_device
from roofline.hardware.host_memory import LINK_SHARE, host_link, host_memory


def test_a_card_hangs_on_pcie_and_a_superchip_on_its_own_cpu() -> None:
    link, share = host_link(load_device("h100-sxm-80gb"))
    assert link.bytes_per_s == pytest.approx(64e9, rel=0.02)  # PCIe 5.0 x16, each way
    assert share == LINK_SHARE["pcie"]


def test_the_rate_is_that_of_all_sockets() -> None:
    found = host_memory(load_device("h100-sxm-80gb"))
    # EPYC 7742: 8 channels of DDR4-3200, 8 bytes each, two sockets; streams reach a part of it
    assert found.gb_per_s < 2 * 8 * 3.2 * 8
    assert found.words.startswith("2 x ")
