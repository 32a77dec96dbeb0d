import pytest

from roofline.errors import RooflineError
from roofline.hardware import device_ids, load_device
from roofline.hardware.frame import chosen, devices


def test_the_catalog_is_a_frame():
    frame = devices()
    assert list(frame.index) == list(device_ids())
    h100 = frame.loc["h100-sxm-80gb"]
    assert h100["bf16_flops_per_s"] == 989.4e12
    assert h100["memory_bytes"] == 81559 * 2**20
    assert h100["scale_up_bytes_per_s"] == 450e9
    assert frame["fp4_flops_per_s"].isna().loc["h100-sxm-80gb"]


def test_by_vendor_and_kind():
    assert set(devices(vendor="amd")["vendor"]) == {"AMD"}
    assert {device.kind for device in chosen(kind="tpu")} == {"tpu"}
    with pytest.raises(RooflineError, match="did you mean 'NVIDIA'"):
        devices(vendor="nvidai")
    with pytest.raises(RooflineError, match="unknown kind"):
        devices(kind="fpga")


def test_every_figure_says_where_it_comes_from():
    h100 = load_device("h100-sxm-80gb")
    assert h100.source_of("bf16") == "h100-whitepaper: table 3, H100 SXM5"
    assert h100.source_of("memory_bytes") == h100.source_of("memory") == h100.sources["driver"]
    assert "DGX H100" in h100.source_of("devices_per_node")
    assert "h100-page" in h100.source_of("scale_up")
    assert "whitepaper" in h100.source_of("L2")
    with pytest.raises(RooflineError, match="unknown figure of h100-sxm-80gb: 'fp4'"):
        h100.source_of("fp4")
