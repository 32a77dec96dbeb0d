"""``roofline devices``: the catalog, instances, or whatever ``-d`` takes."""

import pytest

import roofline
from roofline import hardware
from roofline.cli import main
from roofline.hardware.instances import instances


def test_instances_are_listed_with_what_they_stand_for(answered) -> None:
    data = answered("devices", "--instances")
    rows = {row["name"]: row for row in data["instances"]}
    assert len(rows) == len(instances())
    assert rows["p5.48xlarge"]["device"] == "h100-sxm-80gb"
    assert rows["p5.48xlarge"]["devices"] == 8
    assert rows["p5.48xlarge"]["network_bytes_per_s"] == 50e9
    assert rows["v5p-N"]["devices_per_n"] == 0.5
    assert "price" not in " ".join(rows["p5.48xlarge"])


def test_instances_of_one_cloud(refused, printed) -> None:
    text = printed("devices", "--instances", "--vendor", "oci")
    assert "BM.GPU.H100.8" in text
    assert "p5.48xlarge" not in text
    assert "unknown provider 'nobody' (allowed: AWS, Azure" in refused("devices", "--instances", "--vendor", "nobody")
    assert "leave it out to see 'p5.48xlarge'" in refused("devices", "p5.48xlarge", "--instances")


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("p5.48xlarge", "The name stands for 8 devices"),
        ("4090", "'4090' is read as rtx-4090"),
        ("rtx-4080", "appendix A"),
        ("RTX 3060 Laptop 100W", "100 W"),
        ("docs/examples/h100-study.toml", "assumes twice the bandwidth"),
        ("docs/examples/boards.csv:my-4080", "97.47 TFLOP/s"),
    ],
)
def test_one_device_by_whatever_names_it(word: str, shown: str, printed) -> None:
    assert shown in " ".join(printed("devices", word).split())


def test_a_figure_is_shown_with_its_place_and_address(answered) -> None:
    data = answered("devices", "rtx-4090")
    (source,) = {figure["source"] for figure in data["figures"] if figure["figure"] == "bf16 peak"}
    assert source.startswith("NVIDIA Ada GPU architecture, v2.1, 2023; appendix A, table 2; https://")


@pytest.mark.parametrize(
    ("word", "options", "count"),
    [
        ("p5.48xlarge", {}, 8),
        ("p5.48xlarge", {"num_devices": 2}, 2),
        ("p5.48xlarge", {"tp": 4}, 8),
        ("p5.48xlarge", {"dp": 2, "tp": 2}, 4),
        ("8xH100-SXM", {}, 8),
        ("h100-sxm-80gb", {}, 1),
    ],
)
def test_an_instance_means_its_devices_unless_a_number_is_given(word: str, options: dict[str, int], count: int) -> None:
    assert roofline.estimate("gpt2", word, **options).train.num_devices == count


def test_layouts_and_plans_are_of_the_instance() -> None:
    assert {one.num_devices for one in roofline.layouts("gpt2", "4x l4", global_batch=8).layouts} == {4}
    assert roofline.plan("gpt2", "4x l4", tokens=1e6).num_devices == 4


KEYS = {
    *("id", "name", "vendor", "kind", "nvml_names", "peak_flops_per_s", "memory_bytes"),
    *("memory_bandwidth_bytes_per_s", "links", "tdp_w", "confidence"),
}


def test_catalog_as_json_has_the_stable_keys(answered) -> None:
    devices = answered("devices")["devices"]
    assert [device["id"] for device in devices] == list(hardware.device_ids())
    assert all(set(device) >= KEYS for device in devices)
    by_id = {device["id"]: device for device in devices}
    assert by_id["h100-sxm-80gb"]["peak_flops_per_s"]["bf16"] == 989.4e12
    assert by_id["h100-sxm-80gb"]["links"]["scale_up"]["bytes_per_s"] == 450e9


def test_one_device_shows_every_figure_with_its_source_and_what_others_print(answered, printed) -> None:
    text = printed("devices", "h100-sxm-80gb")
    for part in ("989.4 TFLOP/s", "NVIDIA H100 80GB HBM3", "datasheet", "What others wrongly print", "1978.9"):
        assert part in text
    data = answered("devices", "h100-sxm-80gb")
    assert set(data) >= KEYS
    assert all(figure["source"] is not None for figure in data["figures"])
    assert {"figure", "value", "unit", "why"} <= set(data["wrong"][0])


def test_vendor_filter(refused, answered) -> None:
    assert {device["vendor"] for device in answered("devices", "--vendor", "amd")["devices"]} == {"AMD"}
    assert "allowed" in refused("devices", "--vendor", "nobody")


def test_unknown_device_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "h100"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "which one" in captured.err
