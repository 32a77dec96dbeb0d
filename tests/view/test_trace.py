"""A traced pass as it is read."""

import msgspec

from roofline.counting.op import Op
from roofline.tracing.fusion import Fused
from roofline.tracing.recorder import ModuleCost, Trace
from roofline.view import trace as view
from roofline.view.table import cell_text


def op(name: str, flops: float, count: int = 1) -> Op:
    return Op(
        name=name,
        kind="matmul",
        phase="forward",
        part="layer",
        dtype="fp32",
        flops=flops,
        bytes_read=8,
        bytes_written=4,
        count=count,
    )


def cost(flops: float) -> ModuleCost:
    return ModuleCost(flops_forward=flops, flops_backward=2 * flops, bytes=12, activation_bytes=4)


TRACE = Trace(
    name="Net",
    ops=(op("small", 10), op("often", 6, count=4)),
    parameters=1000,
    trainable_parameters=900,
    activation_bytes=2**20,
    peak_bytes=2**21,
    by_module={"": cost(34), "a": cost(10), "b": cost(24)},
)


def test_totals_are_those_of_the_whole():
    rows = dict(view.tables(TRACE)[0].rows)
    assert cell_text(rows["Parameters"]) == "1,000, 900 of them trainable"
    assert (rows["Forward"].value, rows["Backward"].value) == (34, 68)
    assert cell_text(rows["Kept for backward"]) == "1.00 MiB"


def test_what_a_compiler_makes_of_it_stands_beside_it():
    fused = Fused(ops=(op("fused", 34, count=2),), activation_bytes=2**19, peak_bytes=2**20)
    both = msgspec.structs.replace(TRACE, fused=fused)
    words = cell_text(dict(view.tables(both)[0].rows)["As a compiler fuses it"])
    assert words == "2 kernels, not 5; 24 B moved, not 60 B; 512.00 KiB kept"  # of ops that move 12 bytes each
    assert [each["name"] for each in view.data(both)["fused"]["ops"]] == ["fused"]


def test_ops_and_modules_are_sorted_by_what_they_cost_in_all():
    _, ops, modules = view.tables(TRACE)
    assert [row[0] for row in ops.rows] == ["often", "small"]  # 4 x 6 before 10
    assert [row[0] for row in modules.rows] == ["b", "a"]
    assert ops.rows[0][4].value == 4 * 12


def test_programs_get_every_op():
    assert [each["name"] for each in view.data(TRACE)["ops"]] == ["small", "often"]
    assert len(view.records(TRACE).rows) == 2
    assert view.records(Trace(**{**{n: getattr(TRACE, n) for n in TRACE.__struct_fields__}, "ops": ()})).rows == []
