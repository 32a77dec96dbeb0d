"""Cloud instances and systems: device, number, links and network of each name."""

import pytest

from roofline.hardware import HardwareError, device_ids, load_device
from roofline.hardware.instances import instance, instances, like, named
from roofline.hardware.sections import Citation
from roofline.hardware.sources import documents, missing
from roofline.hardware.words import tokens

TABLE = instances()
FIXED = [one.name for one in TABLE if one.devices is not None]


def test_every_row_has_a_device_a_size_and_a_source() -> None:
    assert len(TABLE) >= 150
    for one in TABLE:
        assert one.device in device_ids(), one.name
        assert (one.devices is None) != (one.devices_per_n is None), one.name
        assert (one.link is None) == (one.link_devices is None), one.name
        if isinstance(one.source, Citation):
            assert one.source.document in documents(), one.name
        if one.confidence == "high":
            assert missing(one.source) == [], one.name


def test_names_are_of_one_instance_and_of_no_device() -> None:
    spelt = ["".join(tokens(name)) for one in TABLE for name in one.spellings]
    assert len(spelt) == len(set(spelt))
    assert not {"".join(tokens(key)) for key in device_ids()} & set(spelt)


@pytest.mark.parametrize("name", FIXED)
def test_every_name_is_its_device_there(name: str) -> None:
    device = load_device(name)
    one, count = named(name) or pytest.fail(name)
    assert device.id == one.device
    assert device.num_devices == count == one.devices
    assert device.devices_per_node <= count
    if one.link is None:
        assert "scale_up" not in device.links
    else:
        assert device.scale_up_devices == one.link_devices


@pytest.mark.parametrize(
    ("word", "count", "device_id", "per_node", "gbit_per_s"),
    [
        ("p5.48xlarge", 8, "h100-sxm-80gb", 8, 400),
        ("ml.p5.48xlarge", 8, "h100-sxm-80gb", 8, 400),
        ("P5.48XLARGE", 8, "h100-sxm-80gb", 8, 400),
        ("a3-megagpu-8g", 8, "h100-sxm-80gb", 8, 200),  # half of AWS's
        ("a3-highgpu-8g", 8, "h100-sxm-80gb", 8, 100),
        ("Standard_ND96isr_H100_v5", 8, "h100-sxm-80gb", 8, 400),
        ("ND96isr_H100_v5", 8, "h100-sxm-80gb", 8, 400),
        ("DGX H100", 8, "h100-sxm-80gb", 8, 400),
        ("dgx-h100", 8, "h100-sxm-80gb", 8, 400),
        ("GB200 NVL72", 72, "gb200", 4, 400),
        ("v5p-128", 64, "tpu-v5p", 4, 50),  # counts two cores per chip
        ("v5litepod-256", 256, "tpu-v5e", 8, 25),
        ("v5e-16", 16, "tpu-v5e", 8, 25),
        ("v6e-4", 4, "tpu-v6e", 4, 100),
        ("DGX Spark", 1, "gb10", 1, 200),  # its PCIe carries no more of 2 x 200
        ("2x p5.48xlarge", 16, "h100-sxm-80gb", 8, 400),
    ],
)
def test_a_name_says_device_count_and_network(
    word: str, count: int, device_id: str, per_node: int, gbit_per_s: float
) -> None:
    device = load_device(word)
    assert (device.num_devices, device.id, device.devices_per_node) == (count, device_id, per_node)
    assert device.network_bytes_per_s == gbit_per_s * 1e9 / 8


def test_links_are_those_of_the_instance() -> None:
    assert load_device("a2-megagpu-16g").scale_up_devices == 16
    assert load_device("trn2u.48xlarge").scale_up_devices == 64
    alone = load_device("p5.4xlarge")
    assert alone.scale_up_devices == 1
    assert alone.devices_per_node == 1
    assert load_device("p6e-gb200.36xlarge").scale_up_devices == 72


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("v5p-7", "v5p-N counts 2 per chip: give a multiple of that"),
        ("p5", r"unknown device 'p5': did you mean 'p5.4xlarge', 'p5.48xlarge'"),
        ("p5.96xlarge", "unknown device 'p5.96xlarge'"),
    ],
)
def test_what_is_no_instance_says_so(word: str, message: str) -> None:
    with pytest.raises(HardwareError, match=message):
        load_device(word)


def test_a_network_that_nobody_states_is_missing() -> None:
    device = load_device("gpu_8x_h100_sxm5")
    assert any("not looked up at Lambda" in caveat for caveat in device.caveats)
    with pytest.raises(HardwareError, match="no network figure"):
        _ = device.network_bytes_per_s


def test_names_that_a_word_begins() -> None:
    assert like("p4") == ["p4d.24xlarge", "p4de.24xlarge"]
    assert like("") == []


def test_a_cell_that_is_wrong_is_named() -> None:
    row = {"name": "x1", "provider": "me", "device": "l4", "confidence": "low", "sources": "recalled: x"}
    assert instance({**row, "devices": "4"}).devices == 4
    with pytest.raises(HardwareError, match=r"instances.csv, row x1: devices = 'four': expected `int`, got `str`"):
        instance({**row, "devices": "four"})
    with pytest.raises(HardwareError, match=r"row x1: price: unknown key"):
        instance({**row, "price": "3"})
