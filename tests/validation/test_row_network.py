"""The network that a row of a table of measurements states."""

import pytest

from roofline.validation.row_network import network_of, stated_network


def test_a_number_stands_before_words():
    row = {"inter_node": "RDMA 400Gb/s per GPU"}
    assert stated_network(row) == 400
    assert stated_network({**row, "network_gbit_per_s": "100"}) == 100
    assert stated_network({}) is None


@pytest.mark.parametrize(
    ("words", "devices", "expected"),
    [
        ("", 8, None),
        ("InfiniBand", 8, None),
        ("InfiniBand 8x200Gb/s per node", 8, 200),
        ("1.6Tb/s", 8, None),
        ("4x 200 Gb/s per node", 8, 100),
        ("RDMA 400Gb/s per GPU", 8, 400),
        ("4 Omni-Path links per node", 8, 50),
        ("100 Gbps per node", 4, 25),
    ],
)
def test_network_words(words, devices, expected):
    assert network_of(words, devices) == expected
