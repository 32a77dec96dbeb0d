"""Cloud instances as they are read."""

from roofline.hardware.instances import Instance
from roofline.view.instances import catalog
from roofline.view.table import cell_text


def instance(**changes) -> Instance:
    fields = {"name": "p5.48xlarge", "provider": "AWS", "device": "h100-sxm-80gb", "devices": 8}
    return Instance(**{"confidence": "high", "sources": "recalled: a page", **fields, **changes})


def test_rates_and_counts_in_their_columns():
    shown = catalog([instance(network_gbit_per_s=400.0), instance(name="Standard_X", confidence="low")])
    first, second = ([cell_text(cell) for cell in row] for row in shown.tables[0].rows)
    assert first == ["p5.48xlarge", "AWS", "8", "h100-sxm-80gb", "-", "-", "400"]
    assert second[0] == "X*"  # the prefix may be left out; the mark is of low confidence
    assert shown.data["instances"][0]["network_bytes_per_s"] == 50e9
    assert shown.notes[-1].startswith("1 names (marked *)")


def test_a_family_of_any_size_has_n_devices():
    shown = catalog([instance(devices=None, devices_per_n=4.0), instance(devices=None, devices_per_n=1.0)])
    assert [cell_text(row[2]) for row in shown.tables[0].rows] == ["4 N", "N"]
