"""``roofline devices``: the catalog, instances, or whatever ``-d`` takes."""

from __future__ import annotations

import json

import pytest

import roofline
from roofline.cli import main
from roofline.hardware.instances import instances


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_instances_are_listed_with_what_they_stand_for(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(printed(capsys, "devices", "--instances", "--format", "json"))
    rows = {row["name"]: row for row in data["instances"]}
    assert len(rows) == len(instances())
    assert rows["p5.48xlarge"]["device"] == "h100-sxm-80gb"
    assert rows["p5.48xlarge"]["devices"] == 8
    assert rows["p5.48xlarge"]["network_bytes_per_s"] == 50e9
    assert rows["v5p-N"]["devices_per_n"] == 0.5
    assert "price" not in " ".join(rows["p5.48xlarge"])


def test_instances_of_one_cloud(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "devices", "--instances", "--vendor", "oci")
    assert "BM.GPU.H100.8" in text
    assert "p5.48xlarge" not in text
    assert main(["devices", "--instances", "--vendor", "nobody"]) == 2
    assert "unknown provider 'nobody' (allowed: AWS, Azure" in capsys.readouterr().err
    assert main(["devices", "p5.48xlarge", "--instances"]) == 2
    assert "leave it out to see 'p5.48xlarge'" in capsys.readouterr().err


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
def test_one_device_by_whatever_names_it(capsys: pytest.CaptureFixture[str], word: str, shown: str) -> None:
    assert shown in " ".join(printed(capsys, "devices", word).split())


def test_a_figure_is_shown_with_its_place_and_address(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(printed(capsys, "devices", "rtx-4090", "--format", "json"))
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
