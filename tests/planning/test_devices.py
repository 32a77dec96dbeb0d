"""How many devices: the fewest that meet a deadline, the most that a budget pays."""

import pytest

import roofline
from roofline.planning.cost import Terms
from roofline.planning.devices import DoesNotFit, Planner
from roofline.planning.plan import read_terms
from roofline.units import format_time

GPT2, A100 = roofline.load_model("gpt2"), roofline.load_device("a100-sxm-80gb")


def planner(**options) -> Planner:
    tried: list[int] = []
    made = Planner(
        GPT2, A100, read_terms(Terms()), {"global_batch": 64, "stack": "compiled", **options}, 0.5, tried.append
    )
    made.tried = tried
    return made


def test_each_number_of_devices_is_searched_once():
    made = planner()
    assert made.best(2) is made.best(2)
    assert made.tried == [2]


def test_a_number_that_does_not_fit_fails_each_time():
    made = Planner(roofline.load_model("llama-3-70b"), A100, read_terms(Terms()), {"global_batch": 8, "stack": "nemo"})
    for _ in range(2):
        with pytest.raises(DoesNotFit):
            made.on(1)


def test_a_missing_figure_is_told_where_fewer_devices_do_not_hold_the_model():
    """70.6B parameters of 16 bytes are 1.13 TB, and 8 x 24 GiB are 0.2 TB: more need a network, of which no figure."""
    asked = {"tokens": "1B", "deadline_s": "60d", "stack": "fsdp", "cp": 1}
    missing = r"^llama-3-70b needs more than 8 x rtx-4090: .* give yours with --network-bandwidth"
    with pytest.raises(roofline.HardwareError, match=missing):
        roofline.plan("llama-3-70b", "rtx-4090", **asked)
    networked = roofline.override(roofline.load_device("rtx-4090"), network_gbit_per_s=100)
    found = roofline.plan("llama-3-70b", networked, **asked)
    assert found.num_devices >= 1129 / 25.8
    assert found.missed == ()
    with pytest.raises(DoesNotFit, match="on no number of rtx-4090"):  # nothing is missing
        roofline.plan("llama-3-70b", networked, **asked, sharding="none", tp=1, pp=1)


def test_whether_more_devices_meet_a_deadline_is_not_known_without_a_figure():
    """100B tokens x 6 x 8B are 4.8e21 FLOPs: 8 x 165 TFLOP/s take 42 days at the least."""
    (late,) = roofline.plan("llama-3-8b", "rtx-4090", tokens="100B", deadline_s="30d").missed
    assert late.devices is None
    assert late.why.startswith("whether more devices would meet it is not known: rtx-4090 has no network figure")
    spent = roofline.plan("llama-3-8b", "rtx-4090", tokens="10B", budget=100_000, terms=Terms(price=0.5))
    assert any(note.startswith("larger numbers of devices are left out: rtx-4090 has no") for note in spent.notes)


def test_a_plan_on_a_layout_that_is_not_the_fastest_says_what_the_fastest_takes():
    asked = {"num_devices": 8, "global_batch": 128}
    fastest = roofline.layouts("llama-3-8b", "h100-sxm-80gb", **asked).layouts[0]
    found = roofline.plan("llama-3-8b", "h100-sxm-80gb", tokens="100B", **asked)
    assert 1 < found.layout.step_time_s / fastest.step_time_s <= 1.05
    (said,) = [note for note in found.notes if "simplest" in note]
    taken = format_time(fastest.step_time_s)
    assert said.startswith(f"layouts are the simplest within 5 % of the fastest, which takes {taken} a step (8 dev")
    split = {name: getattr(found.layout, name) for name in ("tp", "pp", "cp", "stack")}
    alone = roofline.plan("llama-3-8b", "h100-sxm-80gb", tokens="100B", **asked, **split)
    assert not any("simplest" in note for note in alone.notes)


def test_what_stands_beside_a_plan_says_which_layouts_are_passed_over_too():
    asked = {"global_batch": 128, "tokens": "100B", "num_devices": 8}
    found = roofline.plan("llama-3-8b", "h100-sxm-80gb", doubling=True, **asked)
    (said,) = [note for note in found.notes if "simplest" in note]
    beside = {f"; on {each.stack} ": each.layout for each in found.other_software}
    beside["; on twice the devices "] = found.doubling.layout
    for where, layout in beside.items():
        same = {"num_devices": layout.num_devices, "global_batch": 128, "stack": layout.stack}
        fastest = roofline.layouts("llama-3-8b", "h100-sxm-80gb", **same).layouts[0]
        assert (where in said) == (fastest.train != layout.train)
        assert where not in said or f"{where}{format_time(fastest.step_time_s)} a step (" in said
    assert any(where in said for where in beside)
