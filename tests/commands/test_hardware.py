"""``roofline devices``, ``detect`` and ``calibrate``: stable JSON keys, readable tables, errors on one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from roofline import hardware
from roofline.cli import main

MACHINES = Path(__file__).parents[1] / "fixtures" / "nvml"
KEYS = {
    *("id", "name", "vendor", "kind", "nvml_names", "peak_flops_per_s", "memory_bytes"),
    *("memory_bandwidth_bytes_per_s", "links", "tdp_w", "confidence"),
}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(run(capsys, *arguments, "--format", "json"))


def test_catalog_as_json_has_the_stable_keys(capsys: pytest.CaptureFixture[str]) -> None:
    devices = run_json(capsys, "devices")["devices"]
    assert [device["id"] for device in devices] == list(hardware.device_ids())
    assert all(set(device) >= KEYS for device in devices)
    by_id = {device["id"]: device for device in devices}
    assert by_id["h100-sxm-80gb"]["peak_flops_per_s"]["bf16"] == 989.4e12
    assert by_id["h100-sxm-80gb"]["links"]["scale_up"]["bytes_per_s"] == 450e9


def test_one_device_shows_every_figure_with_its_source_and_what_others_print(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = run(capsys, "devices", "h100-sxm-80gb")
    for part in (
        "989.4 TFLOP/s",
        "NVIDIA H100 80GB HBM3",
        "datasheet",
        "What others wrongly print",
        "1978.9",
    ):
        assert part in text
    data = run_json(capsys, "devices", "h100-sxm-80gb")
    assert set(data) >= KEYS
    assert all(figure["source"] is not None for figure in data["figures"])
    assert {"figure", "value", "unit", "why"} <= set(data["wrong"][0])


def test_vendor_filter(capsys: pytest.CaptureFixture[str]) -> None:
    assert {device["vendor"] for device in run_json(capsys, "devices", "--vendor", "amd")["devices"]} == {"AMD"}
    assert main(["devices", "--vendor", "nobody"]) == 2
    assert "allowed" in capsys.readouterr().err


def test_unknown_device_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "h100"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "which one" in captured.err
