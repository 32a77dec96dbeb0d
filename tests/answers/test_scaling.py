"""More devices at one global batch: a longer step is what is sent, no slower than the slowest host of its kind."""

from itertools import pairwise
from typing import Any

import pytest

from roofline import estimate, load_device, override
from roofline.hardware.catalog import hosts

CARDS = ["t4", "l4", "l40s", "a10g", "rtx-3090", "rtx-4090", "rtx-5090", "rtx-6000-ada", "arc-b580", "rx-7900-xtx"]
CARDS += ["a100-pcie-80gb", "h100-pcie-80gb", "v100-pcie-16gb", "rtx-pro-6000-blackwell-server"]
LINKED = ["a100-sxm-80gb", "h100-sxm-80gb", "b200-sxm", "mi300x", "gaudi3", "tpu-v5e"]
PARAMETERS = 354_823_168  # gpt2-medium
BATCH, MICRO = 32, 2
NARROWEST = 15.75  # GB/s: PCIe 3.0 x16, or 4.0 x8


def scaled(device: str, sharding: str, **host: str) -> list[Any]:
    """One global batch on 1, 2, 4 and 8 devices."""
    return [
        estimate(
            "gpt2-medium",
            device=override(load_device(device), **host),
            num_devices=number,
            micro_batch=MICRO,
            global_batch=BATCH,
            seq_len=1024,
            sharding=sharding,
        )
        for number in (1, 2, 4, 8)
    ]


def exposed(result: Any) -> float:
    """Seconds of a step in which nothing but sending runs."""
    terms = {term["term"]: term["seconds"] for term in result.to_dict()["waterfall"]}
    return float(terms["data_parallel"])


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
@pytest.mark.parametrize("device", [*CARDS, *LINKED])
def test_a_longer_step_is_what_is_sent(device: str, sharding: str) -> None:
    for fewer, more in pairwise(scaled(device, sharding)):
        if more.step_time_s > fewer.step_time_s:
            assert more.step_time_s - exposed(more) <= fewer.step_time_s - exposed(fewer)


@pytest.mark.parametrize("device", CARDS)
def test_what_is_sent_takes_no_longer_than_on_the_slowest_host_of_its_kind(device: str) -> None:
    for number, result in zip((1, 2, 4, 8), scaled(device, "fsdp"), strict=True):
        staged = any("no peer-to-peer" in note for note in result.notes)
        slowest = hosts()["staged"].low if staged else hosts()["p2p-root"].low * NARROWEST
        passes = BATCH // (MICRO * number)
        sent = passes * PARAMETERS * (2 + 2 + 4) * (number - 1) / number  # two gathers of 16 bits, gradients of 32
        assert exposed(result) <= sent / (slowest * 1e9)
        if number > 1:
            assert any("--topology chooses" in note for note in result.notes)


def test_cards_without_peer_to_peer_lose_what_a_switch_gives() -> None:
    through_the_host = scaled("rtx-4090", "fsdp")
    behind_a_switch = scaled("rtx-4090", "fsdp", topology="p2p-switch")
    assert through_the_host[-1].step_time_s > through_the_host[0].step_time_s
    assert behind_a_switch[-1].step_time_s < behind_a_switch[0].step_time_s
