"""Seconds of what crosses between device and host: bytes over rates."""

from typing import Any

import pytest

from roofline.config.run import TrainConfig
from roofline.counting.op import Op
from roofline.hardware import load_device
from roofline.hardware.host_memory import host_link, host_memory
from roofline.timing.host import ON_HOST, host_time


def op(kind: Any, **figures: float) -> Op:
    plain = {"flops": 0, "bytes_read": 0, "bytes_written": 0, **figures}
    return Op(name="x", kind=kind, phase="optimizer", part="step", dtype="fp32", **plain)  # type: ignore[arg-type]


def train(**fields: Any) -> TrainConfig:
    return TrainConfig(micro_batch=1, seq_len=8, **fields)


H100 = load_device("h100-sxm-80gb")


def test_a_transfer_takes_the_devices_own_link() -> None:
    link, share = host_link(H100)
    alone = host_time(op("transfer", bytes_sent=link.bytes_per_s), train(), H100)
    assert alone == pytest.approx((1.0, 1 / share))
    assert host_time(op("transfer", bytes_sent=link.bytes_per_s), train(num_devices=8, dp=8), H100) == alone


def test_ranks_of_a_node_share_the_hosts_memory() -> None:
    update = op("host", bytes_read=60e9, bytes_written=40e9)
    assert host_time(update, train(host_gb_per_s=100), H100) == (1.0, 1.0)
    assert host_time(update, train(host_gb_per_s=100, num_devices=4, dp=4), H100) == (4.0, 4.0)
    assert host_time(update, train(host_gb_per_s=100, num_devices=64, dp=64), H100)[0] == 8.0  # of a node of eight
    two = train(host_gb_per_s=100, num_devices=64, dp=64, devices_per_node=2)
    assert host_time(update, two, H100)[0] == 2.0


def test_drives_have_their_own_rate() -> None:
    swap = op("nvme", bytes_read=5e9, bytes_written=5e9)
    assert host_time(swap, train(host_gb_per_s=100, nvme_gb_per_s=10), H100) == (1.0, 1.0)


def test_kinds_that_no_kernel_of_the_device_runs() -> None:
    assert {"transfer", "host", "nvme"} == ON_HOST


def test_a_host_that_nobody_described_is_the_devices_usual_one() -> None:
    usual = host_memory(H100).gb_per_s
    assert host_time(op("host", bytes_read=usual * 1e9), train(), H100) == pytest.approx((1.0, 1.0))
