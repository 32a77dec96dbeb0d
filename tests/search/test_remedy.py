"""Where nothing fits, what would."""

import re

from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.search.answer import layouts
from roofline.search.remedy import remedy, shortage
from roofline.units import format_bytes

from .small import DENSE, DEVICE


def test_where_nothing_fits_each_remedy_fits():
    large, asked = load_model("llama-2-70b"), {"global_batch": 64, "recompute": "none", "seq_len": 4096}
    found = layouts(large, DEVICE, num_devices=2, **asked)
    ways = remedy(large, DEVICE, found, 2, asked)
    assert "--seq-len" not in ways  # 70e9 x 12 bytes and more over two devices: no sequence is short enough
    assert re.search("needs [0-9.]+ GiB per device at least, [0-9.]+ GiB of it weights", shortage(found))
    devices = int(re.search("use ([0-9]+) devices", ways)[1])
    assert layouts(large, DEVICE, num_devices=devices, **asked).layouts
    assert not layouts(large, DEVICE, num_devices=devices - 8, **asked).layouts


def test_a_restriction_that_stands_in_the_way_is_named():
    model, asked = load_model("llama-2-7b"), {"global_batch": 64, "sharding": "none", "pp": 1, "tp": 1}
    found = layouts(model, DEVICE, num_devices=8, **asked)
    assert found.layouts == []
    assert "leave --sharding, --tp, --pp out" in remedy(model, DEVICE, found, 8, asked)


def test_a_shorter_sequence_helps_where_activations_do_not_fit():
    asked = {"seq_len": 2**20, "micro_batch": 1, "global_batch": 1}
    found = layouts(DENSE, DEVICE, num_devices=1, **asked)
    assert found.layouts == []
    length = int(re.search(r"--seq-len (\d+)", remedy(DENSE, DEVICE, found, 1, asked))[1])
    assert layouts(DENSE, DEVICE, num_devices=1, **{**asked, "seq_len": length}).layouts
    assert not layouts(DENSE, DEVICE, num_devices=1, **{**asked, "seq_len": 2 * length}).layouts


def test_an_optimizer_in_8_bits_is_named_where_it_makes_it_fit():
    """1.24B parameters: 22 bytes of each (gradients of one more micro batch too) are over 24 GiB; 16 are 18.4."""
    model, card = load_model("llama-3.2-1b"), load_device("rtx-4090")
    found = layouts(model, card, num_devices=1)
    assert found.layouts == []
    said = re.search(r"--optimizer (\S+) \((.*?): ([0-9.]+ GiB)", remedy(model, card, found, 1, {}))
    fitting = layouts(model, card, num_devices=1, optimizer=said[1])
    assert format_bytes(fitting.simplest.memory_bytes) == said[3]
