"""What every answer can do, of every kind of answer."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import pytest

import roofline
from roofline.counting.textbook import accounting_table
from roofline.result import plain
from roofline.tracing.recorder import ModuleCost
from roofline.validation.runs import data_file

from .test_documented import answers

DEVICE = "h100-sxm-80gb"
ASKED = {  # command line -> the same question in Python
    "count gpt2 --micro-batch 2": lambda: roofline.count("gpt2", micro_batch=2),
    f"estimate gpt2 -d {DEVICE}": lambda: roofline.estimate("gpt2", DEVICE),
    f"estimate llama-3-8b -d {DEVICE}": lambda: roofline.estimate("llama-3-8b", DEVICE),
    f"estimate gpt2 -d {DEVICE} --phase decode": lambda: roofline.infer("gpt2", DEVICE, "decode"),
    f"memory gpt2-xl -d {DEVICE} --micro-batch 64": lambda: roofline.memory("gpt2-xl", DEVICE, micro_batch=64),
    "memory gpt2": lambda: roofline.memory("gpt2"),
    f"plan gpt2 -d {DEVICE} --tokens 3B --price 2/h": lambda: roofline.plan(
        "gpt2", DEVICE, tokens="3B", terms=roofline.Terms(price=2), doubling=True
    ),
    f"plan -d {DEVICE} --flops 1e20 --num-devices 2": lambda: roofline.ladder(DEVICE, flops=1e20, num_devices=2),
    f"layouts llama-2-7b -d {DEVICE} --num-devices 4 --global-batch 64 --sharding fsdp": lambda: roofline.layouts(
        "llama-2-7b", DEVICE, num_devices=4, global_batch=64, sharding="fsdp"
    ),
    f"layouts llama-3-70b -d {DEVICE} --num-devices 4": lambda: roofline.layouts("llama-3-70b", DEVICE, num_devices=4),
    f"mfu gpt2 -d {DEVICE} --step-time 500ms": lambda: roofline.mfu("gpt2", DEVICE, step_time_s="500ms"),
    f"compare gpt2 -d {DEVICE} --micro-batch 1,2": lambda: roofline.compare("gpt2", DEVICE, micro_batch=[1, 2]),
    "count gpt2 --style accounting": lambda: accounting_table(roofline.load_model("gpt2"), 1024),
    "detect": roofline.detect,
}

IN_JSON_ALONE = {  # other names of an attribute, what to type next, and what takes a search of its own
    *("time_to_first_token_s", "time_per_output_token_s", "next"),
    *("fixes", "improvements"),
}


class Balanced(HTMLParser):
    """Fails where an element is not closed, or where there is a script."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, _attributes):
        assert tag != "script"
        self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("line", ASKED)
def test_every_answer_is_alike(line, answered):
    result = ASKED[line]()
    told = answered(*line.split(), statuses=(0, 3))
    mine = json.loads(json.dumps(result.to_dict()))
    for each in (told, mine):
        each.pop("seconds", None)  # how long the search took
    assert mine == told
    assert [key for key in told if key not in IN_JSON_ALONE and not hasattr(result, key)] == []
    assert "\n" not in repr(result)
    assert len(repr(result)) < 320
    assert repr(result).startswith(f"<{type(result).__name__}")
    assert len(result.tables()) >= 1
    assert list(result.to_frame().columns)
    page = Balanced()
    page.feed(result._repr_html_())
    assert page.open == []
    assert "".join(page.text).strip()


def test_a_prediction_is_a_row_of_the_command(printed, tmp_path):
    header, *rows = data_file("runs").read_text(encoding="utf-8").splitlines()
    table = tmp_path / "runs.csv"
    table.write_text("\n".join([header, *rows[:3]]) + "\n", encoding="utf-8")
    told = list(csv.DictReader(printed("validate", "--data", str(table), "--format", "csv").splitlines()))
    mine = [json.loads(json.dumps(each.to_dict())) for each in roofline.validate_runs(table)]
    assert len(mine) == len(told) == 3
    for row, each in zip(told, mine, strict=True):
        assert each.pop("notes")
        each["assumed"] = "; ".join(each["assumed"])
        assert row == {name: "" if value is None else str(value) for name, value in each.items()}


def test_a_trace_is_plain_too():
    op = roofline.count("gpt2").ops[0]
    cost = ModuleCost(flops_forward=2, flops_backward=4, bytes=8, activation_bytes=16)
    sizes = {"parameters": 10, "trainable_parameters": 10, "activation_bytes": 16, "peak_bytes": 32}
    trace = roofline.Trace(name="Net", ops=(op,), by_module={"": cost, "head": cost}, **sizes)
    told = json.loads(json.dumps(trace.to_dict()))
    assert told.pop("notes")
    assert set(told) == set(roofline.Trace.__struct_fields__)
    assert told["by_module"]["head"] == {"flops_forward": 2, "flops_backward": 4, "bytes": 8, "activation_bytes": 16}
    assert told["ops"][0]["name"] == op.name
    assert len(trace.to_frame()) == 1
    assert "Net" in repr(trace)


def test_every_type_of_answer_is_asked_here():
    asked = {type(ask()).__name__ for ask in ASKED.values()} | {"Prediction", "Trace"}
    assert asked == {kind.__name__ for kind in answers()}


def test_every_answer_is_frozen():
    for ask in (ASKED["count gpt2 --micro-batch 2"], ASKED["memory gpt2"], ASKED["detect"]):
        with pytest.raises(AttributeError):
            ask().notes = ()


def test_what_answers_are_made_of_is_one_line():
    layout = roofline.layouts("gpt2", DEVICE, num_devices=2).layouts[0]
    run = roofline.settle("mixtral-8x7b", DEVICE, num_devices=8, ep=8)
    things = (run.device, run.model, run, run.train, layout, accounting_table(run.model, 4096), roofline.Terms(price=2))
    for thing in things:
        assert "\n" not in repr(thing)
        assert len(repr(thing)) < 240
    assert repr(roofline.TrainConfig(micro_batch=8, recompute="full")) == "TrainConfig(micro_batch=8, recompute='full')"


def test_arrays_are_a_frame_with_a_row_each():
    result = roofline.estimate("gpt2", DEVICE, micro_batch=np.array([1, 2, 4]))
    frame = result.to_frame()
    assert list(frame["micro_batch"]) == [1, 2, 4]
    for index, size in enumerate((1, 2, 4)):
        alone = roofline.estimate("gpt2", DEVICE, micro_batch=size)
        assert frame["step_time_s"][index] == pytest.approx(alone.step_time_s)
        assert frame["memory_total_bytes"][index] == pytest.approx(alone.memory.total_bytes)
    assert '<th class="r">step time</th>' in result._repr_html_()


SWEPT = {
    "estimate": lambda sizes: roofline.estimate("gpt2", DEVICE, micro_batch=sizes),
    "memory": lambda sizes: roofline.memory("gpt2", DEVICE, micro_batch=sizes),
    "memory of no device": lambda sizes: roofline.memory("gpt2", micro_batch=sizes),
    "count": lambda sizes: roofline.count("gpt2", micro_batch=sizes),
}


@pytest.mark.parametrize("sizes", [[1, 2, 4, 8], np.array([[1, 2], [4, 8]]), np.array([2], dtype=np.int8)])
@pytest.mark.parametrize("name", SWEPT)
def test_every_answer_to_a_sweep_is_alike(name, sizes):
    result = SWEPT[name](sizes)
    flat = np.asarray(sizes).reshape(-1).tolist()
    frame = result.to_frame()
    assert list(frame["micro_batch"]) == flat
    counts = ["micro_batch", "global_batch", "seq_len", "num_devices", "tp", "dp"]
    assert {str(frame[column].dtype) for column in counts} == {"int64"}  # what counts things stays whole
    assert not any(hasattr(cell, "shape") and cell.shape for row in frame.itertuples() for cell in row)
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert np.asarray(told["train"]["micro_batch"]).shape == np.shape(sizes)
    (table,) = result.tables()
    assert [row[0] for row in table.rows] == flat
    page = Balanced()
    page.feed(result._repr_html_())
    assert page.open == []
    assert f"{len(flat)} configurations" in repr(result)


def test_a_sweep_of_memory_says_what_fits():
    frame = roofline.memory("gpt2-xl", DEVICE, micro_batch=[1, 2, 4, 8, 16, 32]).to_frame()
    alone = [roofline.memory("gpt2-xl", DEVICE, micro_batch=size) for size in (1, 32)]
    assert list(frame["verdict"].iloc[[0, -1]]) == [one.verdict for one in alone]
    assert frame["total_bytes"].iloc[0] == pytest.approx(alone[0].total_bytes)
    assert frame["fits"].dtype == bool


def test_plain_numpy_scalars_are_python_numbers():
    assert [type(plain(value)) for value in (np.int64(1), np.float64(1.5), np.bool_(1))] == [int, float, bool]
