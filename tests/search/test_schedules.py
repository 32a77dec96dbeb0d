"""Pipeline schedules and the experts' tensor parallelism as axes of a search: what several searches find, in one."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd
import pytest

import roofline
from roofline.errors import RooflineError
from roofline.search.schedules import schedules_of
from roofline.search.space import Choices

from .small import DENSE, DEVICE, EXPERTS, told

FIGURES = ["step_time_s", "memory_bytes"]
PIPELINES = {"num_devices": 8, "global_batch": 32, "seq_len": 2048, "stack": "megatron", "recompute": ("none", "full")}
SHARED = {"num_devices": (8, 16), "global_batch": 32, "seq_len": 2048, "stack": "megatron", "recompute": "none"}


def rows(path, model, **options):
    """Every layout that fits, by what tells it from others, with its figures; and the answer."""
    result = roofline.layouts(model, DEVICE, record=path, **options)
    found = pd.read_csv(path)
    path.unlink()
    found.loc[found.pp == 1, "schedule"] = "-"  # says nothing
    found.loc[(found.schedule == "interleaved") & (found.vp == 1), "schedule"] = "1f1b"
    keys = [name for name in found.columns if name not in FIGURES]
    return found.drop_duplicates(keys).set_index(keys).sort_index(), result, len(found)


@pytest.mark.parametrize(
    ("model", "options", "name", "values"),
    [
        (DENSE, PIPELINES, "schedule", ("zb-v", "1f1b", "zb-h1", "interleaved", "gpipe", "dualpipe")),
        (DENSE, PIPELINES, "schedule", ("interleaved", "dualpipe")),
        (EXPERTS, SHARED, "etp", (1, 2, 8)),
        (EXPERTS, {**SHARED, "stack": "fsdp", "sequence_parallel": False}, "etp", (1, 2)),
    ],
)
def test_one_search_is_the_searches_of_each_value_put_together(tmp_path, model, options, name, values):
    together, result, written = rows(tmp_path / "all.csv", model, **options, **{name: values})
    each = [rows(tmp_path / "one.csv", model, **options, **{name: value}) for value in values]
    merged = pd.concat([found for found, _, _ in each])
    merged = merged[~merged.index.duplicated()].sort_index()
    assert written == len(together) == result.fitting > 50  # each once
    pd.testing.assert_frame_equal(together, merged, rtol=1e-5)
    best = min(alone.layouts[0].step_time_s for _, alone, _ in each)
    assert result.layouts[0].step_time_s == pytest.approx(best, rel=1e-12)
    assert together.step_time_s.min() == pytest.approx(best, rel=1e-5)


def test_every_layout_with_its_own_experts_and_schedule_is_what_estimate_says(tmp_path):
    """With tp 1 ranks that share an expert gather each other's tokens, which they have of their own."""
    path = tmp_path / "all.csv"
    roofline.layouts(EXPERTS, DEVICE, **SHARED, etp="all", schedule=("1f1b", "zb-h1"), record=path)
    found = pd.read_csv(path)
    assert set(found.etp) == {1, 2, 4, 8}
    assert ((found.tp == 1) & (found.etp == 8)).any()
    for row in found.groupby(["etp", "schedule"]).sample(2, random_state=1).to_dict("records"):
        seconds, needed = row.pop("step_time_s"), row.pop("memory_bytes")
        one = roofline.estimate(EXPERTS, DEVICE, **{**SHARED, **row})
        assert one.step_time_s == pytest.approx(seconds, rel=1e-5)
        assert one.memory.needed_bytes == pytest.approx(needed, rel=1e-5)


def test_all_is_what_the_software_has(tmp_path):
    assert schedules_of(Choices(schedule="all"), "deepspeed") == ("1f1b",)
    assert schedules_of(Choices(), "deepspeed") == (None,)
    assert schedules_of(Choices(schedule="all"), "hf-trainer") == (None,)
    found, *_ = rows(tmp_path / "all.csv", DENSE, **PIPELINES | {"stack": "internevo"}, schedule="all", pp=(2, 4))
    assert set(found.index.get_level_values("schedule")) == {"1f1b", "interleaved", "zb-h1", "zb-v"}


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ("megatron", {(1, "-"), (1, "1f1b"), (2, "interleaved"), (3, "interleaved"), (6, "interleaved")}),
        ("deepspeed", {(1, "-"), (1, "1f1b")}),
        ("jax", {(1, "-"), (1, "gpipe"), (2, "circular"), (3, "circular"), (6, "circular")}),
        ("llm-c", {(1, "-")}),
    ],
)
def test_where_nothing_is_said_the_software_runs_what_it_has(tmp_path, stack, expected):
    """24 layers on two stages or four: 12 or 6 on each, in chunks of whole layers, rounds of pp micro batches."""
    options = {**PIPELINES, "stack": stack, "pp": (1, 4), "cp": 1, "recompute": "full"}
    if stack == "llm-c":
        del options["pp"]
    found, *_ = rows(tmp_path / "all.csv", DENSE, **options)
    assert set(found.reset_index()[["vp", "schedule"]].itertuples(index=False, name=None)) == expected


def test_degrees_that_are_asked_for_are_run_on_whatever_software():
    options = {"num_devices": 8, "global_batch": 32, "seq_len": 2048, "recompute": "full", "top": 50}
    found = roofline.layouts(DENSE, DEVICE, **options, stack="deepspeed", vp=(1, 2), pp=4).layouts
    assert {layout.pipeline_schedule for layout in found} == {"1f1b", "interleaved"}
    assert {layout.pp for layout in roofline.layouts(DENSE, DEVICE, **options, stack="llm-c", pp=2).layouts} == {2}
    with pytest.raises(RooflineError, match=r"x pp \(1\) x dp must be 8 devices"):
        roofline.layouts(DENSE, DEVICE, **options, stack="llm-c", tp=1, dp=1, cp=1)


def test_usual_schedules_of_other_software_are_searched_as_estimated(tmp_path):
    path = tmp_path / "all.csv"
    options = {"num_devices": 8, "global_batch": 32, "seq_len": 2048, "stack": "jax", "recompute": "full"}
    roofline.layouts(DENSE, DEVICE, **options, pp=4, vp=(1, 3), record=path)
    for row in pd.read_csv(path).groupby("vp").sample(3, random_state=2).to_dict("records"):
        seconds, needed, _ = (row.pop(name) for name in ("step_time_s", "memory_bytes", "schedule"))
        one = roofline.estimate(DENSE, DEVICE, **{**options, **row})
        assert one.step_time_s == pytest.approx(seconds, rel=1e-5)
        assert one.memory.needed_bytes == pytest.approx(needed, rel=1e-5)


def test_a_layout_says_its_schedule_where_its_stages_do_not(printed):
    words = ["llama-2-7b", "-d", "a100-sxm-80gb", "--num-devices", "16", "--global-batch", "64", "--stack", "megatron"]
    words += ["--pp", "4", "--tp", "4"]
    assert "Schedule" not in printed("layouts", *words)
    assert "all with zb-h1 schedule" in printed("layouts", *words, "--schedule", "zb-h1")
    both = printed("layouts", *words, "--schedule", "1f1b,zb-h1,zb-v")
    assert "Schedule" in both
    assert "zb-v" in both
    layouts = roofline.layouts("llama-2-7b", "a100-sxm-80gb", num_devices=16, tp=4, pp=(1, 4), vp=1).layouts
    assert {layout.pipeline_schedule for layout in layouts} == {None, "1f1b"}


def test_several_axes_are_the_same_in_other_processes(small_pieces):
    asked = {**SHARED, "etp": (1, 2), "schedule": ("1f1b", "zb-h1")}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        assert told(roofline.layouts(EXPERTS, DEVICE, executor=executor, **asked)) == told(
            roofline.layouts(EXPERTS, DEVICE, **asked)
        )


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (DENSE, {"schedule": "zb-v", "vp": 3}, r"no vp of \(3\) divides .* for schedule zb-v: use --vp 2"),
        (DENSE, {"vp": 7}, r"no vp of \(7\) divides the layers of a stage .*: allow another --pp or --vp"),
        (DENSE, {"etp": 2}, "etp needs a mixture of experts, and dense has none"),
        (EXPERTS, {"etp": (3, 5)}, r"no etp of \(3, 5\) divides both the 8 devices and an expert's width 4096"),
        (DENSE, {"schedule": ("dualpipe", "zb-v"), "pp": 1}, r"no pp of \(1\) .* in pairs for dualpipe"),
    ],
)
def test_what_does_not_exist_names_what_does(model, options, words):
    with pytest.raises(RooflineError, match=words):
        roofline.layouts(model, DEVICE, num_devices=8, global_batch=32, **options)


def test_a_schedule_without_a_layout_is_said():
    found = roofline.layouts(DENSE, DEVICE, **PIPELINES, schedule=("1f1b", "dualpipe"), pp=1)
    assert any(note.startswith("no layout runs dualpipe: no pp of (1)") for note in found.notes)
