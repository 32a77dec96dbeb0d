"""Devices = tp x pp x cp x dp, global batch = micro batch x accumulation x dp: what is left out follows."""

from typing import Any

import pytest

from roofline.errors import RooflineError
from roofline.readers.layout import COUNTS, cp_tp, solve


def solved(given: dict[str, Any] | None = None, **said: Any) -> dict[str, Any]:
    return solve(said, given or {}, "run.yaml")[0]


def test_replicas_are_what_the_other_degrees_leave() -> None:
    found = solved(num_devices=48, tp=4, pp=3, micro_batch=2, accumulation=5)
    assert (found["dp"], found["cp"], found["global_batch"]) == (4, 1, 40)  # 48/(4*3), 2*5*4


def test_devices_follow_from_replicas() -> None:
    assert solved(dp=6, tp=2, cp=2)["num_devices"] == 24


def test_any_two_of_micro_batch_accumulation_and_global_batch_give_the_third() -> None:
    assert solved(num_devices=4, global_batch=64, accumulation=8)["micro_batch"] == 2  # 64/(8*4)
    assert solved(num_devices=4, micro_batch=2, accumulation_of_all=32)["global_batch"] == 64  # 2*(32/4)*4
    assert solved(num_devices=4, micro_batch=2)["global_batch"] == 8
    assert solve({"num_devices": 4, "micro_batch": 2}, {}, "x", complete=False)[0]["global_batch"] is None
    assert solved(num_devices=8, tp=4, batch_per_device=0.5)["micro_batch"] == 2  # half a sequence on each of four


def test_the_command_line_overrides_the_file() -> None:
    found = solved({"num_devices": 16, "micro_batch": 1}, num_devices=8, dp=8, micro_batch=4)
    assert (found["num_devices"], found["dp"], found["global_batch"]) == (16, 16, 16)


def test_the_fewest_devices_are_assumed_and_said() -> None:
    found, notes = solve({"tp": 2, "cp": 2, "ep": 8}, {}, "run.yaml")
    assert (found["num_devices"], found["dp"]) == (16, 4)  # 8 experts' ranks are dp 4 x cp 2
    assert notes == [
        "assumes 16 devices, the fewest this layout runs on: the file does not say how many (--num-devices)"
    ]
    found, notes = solve({}, {}, "run.yaml")
    assert found["num_devices"] == 1
    assert notes[0].startswith("assumes 1 device, ")


def test_experts_that_are_whole_spread_over_tp_as_well() -> None:
    assert cp_tp({"cp": 2, "tp": 4}) == 2
    assert cp_tp({"cp": 2, "tp": 4, "etp": 1}) == 8


@pytest.mark.parametrize(
    ("said", "given", "message"),
    [
        ({"num_devices": 6, "tp": 4}, {}, r"6 devices for tp 4, .* multiple of 4: add --num-devices 8$"),
        ({"num_devices": 8, "tp": 2, "dp": 2}, {}, r"8 devices, but tp 2 x dp 2 = 4: add --num-devices 4$"),
        ({"tp": 2}, {"num_devices": 8, "dp": 2}, r"8 devices are not tp x pp x cp x dp = 4: leave --dp or"),
        ({"num_devices": 6, "ep": 4}, {}, r"ep 4 on 6 devices, of which 6 share .*: add --num-devices 4, or a smaller"),
    ],
)
def test_what_cannot_run_names_the_remedy(said: dict[str, Any], given: dict[str, Any], message: str) -> None:
    with pytest.raises(RooflineError, match=message):
        solve(said, given, "run.yaml")


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_that_is_no_number_is_named(name: str) -> None:
    with pytest.raises(RooflineError, match=f"x.yaml says 'two' for {name}, which is no number"):
        solve({name: "two"}, {}, "x.yaml")
