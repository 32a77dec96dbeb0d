"""Software profiles as they are read."""

from typing import get_args

from roofline.config.stack import Fusion, load_stack
from roofline.view.stacks import FUSIONS, LAUNCHES, catalog, one


def test_every_fusion_and_launch_has_words():
    assert set(FUSIONS) == set(get_args(Fusion))
    stacks = [load_stack(name) for name in ("eager", "compiled", "megatron")]
    assert {stack.launch for stack in stacks} <= set(LAUNCHES)


def test_a_line_each():
    stack = load_stack("megatron")
    (table,) = catalog([stack]).tables
    assert table.rows == [["megatron", stack.launch, len(stack.fused), stack.summary]]


def test_one_profile_has_every_fact_and_its_source():
    stack = load_stack("eager")
    shown = one(stack)
    rows = {fact: value for fact, value, _ in shown.tables[0].rows}
    sources = {fact: source for fact, _, source in shown.tables[0].rows}
    assert rows["kernels are launched by"] == "one framework call per kernel"
    assert rows["weights are kept"] == "in fp32, cast at each use"
    assert rows[FUSIONS["padding"]] is False
    assert sources["bucket mb"] == stack.sources["bucket_mb"]
    assert shown.notes[0] == f"Source: {stack.source}."
    assert shown.data["name"] == "eager"


def test_several_values_stand_in_a_row():
    rows = {fact: value for fact, value, _ in one(load_stack("nemo")).tables[0].rows}
    assert (rows["schedules"], rows["versions"]) == ("1f1b, interleaved", "none")
    assert rows["quantised gathers"] == "blockwise, current, delayed, mxfp8, nvfp4"
    assert rows["ends in 16 bit"] == "current 1"
