"""What every answer says of the machine."""

import pytest

import roofline
from roofline.answers.machine import caveats_of, machine_notes
from roofline.hardware import load_device, override


def notes(device, **options):
    return machine_notes(roofline.estimate("gpt2", device, micro_batch=1, **options).train, device)


def test_the_host_is_said_where_ranks_talk_over_pcie():
    card = load_device("rtx-4090")
    assert notes(card, num_devices=1) == []
    assert notes(card, num_devices=8)[0].startswith("cards of a node: assumes no peer-to-peer")
    stated = override(card, topology="p2p-root")
    assert notes(stated, num_devices=8) == [
        "cards of a node: peer-to-peer through the CPU's PCIe root ports, where large all-reduces reach 12 to 21 GB/s"
    ]
    assert notes(load_device("h100-sxm-80gb"), num_devices=8) == []
    pair = override(load_device("rtx-3090"), topology="bridge")
    assert notes(pair, num_devices=2) == []  # the bridge joins them
    assert len(notes(pair, num_devices=4)) == 1


def test_a_network_that_nobody_stated_is_said():
    h100 = load_device("h100-sxm-80gb")
    (note,) = notes(h100, num_devices=64)
    assert note.startswith("between nodes: assumes the usual 400 Gbit/s a device")
    assert notes(h100, num_devices=64, network_gbit_per_s=200) == []
    assert notes(load_device("p5.48xlarge"), num_devices=64) == []  # says its own


def test_a_power_limit_is_said_with_what_it_costs():
    (note,) = notes(override(load_device("h100-sxm-80gb"), power_limit_w=350))
    assert "at 350 of 700 W matrix kernels run at 0.69" in note


def test_caveats_are_the_devices_and_its_architectures():
    assert caveats_of(override(load_device("h100-sxm-80gb"), memory_gib=40))[-1].startswith("memory 40 GiB is yours")
    assert caveats_of(load_device("v100-sxm2-16gb"))  # published runs scatter more widely there


@pytest.mark.parametrize("answer", ["estimate", "memory", "layouts", "plan", "compare"])
def test_every_answer_carries_the_caveats(answer, run):
    options = {
        "estimate": ["--micro-batch", "4"],
        "memory": ["--micro-batch", "4"],
        "layouts": ["--num-devices", "4", "--seq-len", "512", "--global-batch", "16"],
        "plan": ["--num-devices", "4", "--tokens", "1B", "--seq-len", "512", "--global-batch", "16"],
        "compare": ["--micro-batch", "2,4"],
    }[answer]
    result = run(answer, "gpt2", "-d", "rtx-4090", "--power-limit", "300", *options)
    assert result.status == 0, result.err
    assert "power limit 300 W is yours" in " ".join(result.out.split()).lower().replace("300 w", "300 W")


def test_plans_carry_them_as_data():
    device = override(load_device("rtx-4090"), power_limit_w=300)
    found = roofline.layouts("gpt2", device, num_devices=4, seq_len=512, global_batch=16)
    assert any("power limit 300 W" in note for note in found.notes)
    assert any("no peer-to-peer" in note for note in found.notes)
