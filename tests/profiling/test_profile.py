"""A trace written by hand gives the sums that its times say."""

import json

import pytest

from roofline.errors import RooflineError
from roofline.profiling.profile import profile

US = 1e-6


def test_totals(result):
    totals = result.totals
    assert (totals.kernels, totals.nccl_kernels, totals.leading_kernels) == (8, 2, 0)
    assert totals.kernel_time_s == pytest.approx(2 * 550 * US)
    assert totals.busy_s == pytest.approx(2 * 460 * US)
    assert totals.span_s == pytest.approx(1460 * US)
    assert totals.nccl_time_s == pytest.approx(400 * US)
    assert totals.nccl_exposed_s == pytest.approx(200 * US)


def test_mfu_counts_matmuls_forward_and_backward(result):
    flops = 2 * 2 * 4096 * 1024 * 2048  # of a step: forward and data gradient
    assert result.model_flops_per_step == flops
    assert result.mfu == pytest.approx(flops / (1000 * US * 989.4e12), rel=1e-3)


def test_a_synchronization_before_a_gap_is_said(tmp_path, two_steps):
    trace = two_steps()
    trace.add("cuda_runtime", "cudaStreamSynchronize", 1440, 60, 1)
    result = profile([trace.write(tmp_path / "t.json")])
    assert result.after_synchronization_s == pytest.approx(540 * US)


def test_without_shapes_everything_is_linked_and_nothing_attributed_but_collectives(tmp_path, two_steps):
    trace = two_steps()
    for event in trace.events:
        event["args"].pop("Input Dims", None)
    result = profile([trace.write(tmp_path / "t.json")])
    assert result.attributed_share == pytest.approx(400 / 1100)
    assert result.linked_share == 1.0


def test_an_unknown_device_is_not_guessed(tmp_path, two_steps):
    device = {"id": 0, "name": "Tesla V100-DGXS-32GB", "numSms": 80, "totalGlobalMem": 34084028416}
    path = two_steps(device=device).write(tmp_path / "t.json")
    result = profile([path])
    assert result.device is None
    assert result.mfu is None
    assert "v100-sxm2-32gb" in " ".join(result.notes)
    assert profile([path], "v100-sxm2-32gb").device.id == "v100-sxm2-32gb"


@pytest.mark.parametrize("odd", [[], [[1]], {}, {"a": 1}, -1, 10**30, 1e300, "9" * 400, "x"])
def test_odd_values_in_a_trace_say_nothing(tmp_path, two_steps, odd):
    """Wherever a whole number is looked for, one that is none is as good as left out."""
    trace = two_steps(device={"id": 0, "name": "unheard of", "numSms": 132, "totalGlobalMem": odd})
    trace.keys["record_shapes"] = odd
    if not isinstance(odd, (list, dict)):
        for event in trace.events:
            event["args"] |= {"Sequence number": odd, "Fwd thread id": odd, "bytes": odd}
    result = profile([trace.write(tmp_path / "t.json")])
    assert len(result.steps) == 2


def test_json_can_be_written(result):
    data = result.to_dict()
    from roofline.view.table import plain

    json.dumps(plain(data), allow_nan=False)
    assert {"steps", "terms", "ops", "collectives", "attributed_share", "mfu"} <= set(data)
    assert len(result.to_frame()) == len(result.ops)


def test_two_ranks_show_who_waits(tmp_path, two_steps):
    for rank, late in ((0, 0), (1, 60)):
        trace = two_steps(rank=rank, world_size=8)
        for event in trace.events:
            if event["name"].startswith("nccl") and event["cat"] == "kernel":
                event["ts"] += late
                event["dur"] -= late
        trace.write(tmp_path / f"rank{rank}.json")
    result = profile([tmp_path])
    assert [rank.rank for rank in result.ranks] == [0, 1]
    assert [rank.waiting_s for rank in result.ranks] == pytest.approx([60 * US, 0.0])  # rank 1 came last


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ({"rank": 0, "world_size": 8}, {"rank": 0, "world_size": 8}, "both rank 0"),
        ({"rank": 0, "world_size": 8}, {"rank": 1, "world_size": 4}, "do not belong together"),
        ({"rank": 0, "world_size": 8}, {}, "does not say which rank"),
    ],
)
def test_ranks_that_do_not_belong_together(tmp_path, first, second, says, two_steps):
    two_steps(**first).write(tmp_path / "a.json")
    two_steps(**second).write(tmp_path / "b.json")
    with pytest.raises(RooflineError, match=says):
        profile([tmp_path])


def test_a_trace_of_the_host_alone(tmp_path, two_steps):
    trace = two_steps()
    trace.events = [event for event in trace.events if event["cat"] == "cpu_op"]
    with pytest.raises(RooflineError, match="no GPU kernels"):
        profile([trace.write(tmp_path / "t.json")])


def test_an_empty_folder_and_a_file_given_twice(tmp_path, two_steps):
    with pytest.raises(RooflineError, match="holds no trace"):
        profile([tmp_path])
    path = two_steps().write(tmp_path / "t.json")
    with pytest.raises(RooflineError, match="given twice"):
        profile([path, path])
