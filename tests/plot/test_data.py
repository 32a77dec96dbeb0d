"""What pictures show, as plain values."""

from roofline.plot.data import Ceiling, Panel, Point, Roof, RooflineData, Slope


def ceiling(rate: float, *dtypes: str, used: bool = False) -> Ceiling:
    return Ceiling(dtypes=dtypes, flops_per_s=rate, ridge=rate / 10, used=used)


ROOF = Roof(
    device="x", name="X", dtype="bf16", slopes=(Slope(level="memory", bytes_per_s=10.0),),
    ceilings=(ceiling(400, "fp8"), ceiling(200, "bf16", "fp16", used=True), ceiling(100, "fp32", used=True)),
)  # fmt: skip


def test_the_main_ceiling_is_the_highest_that_is_used() -> None:
    assert ROOF.main.flops_per_s == 200
    bare = Roof(device="x", name="X", dtype="bf16", slopes=(), ceilings=(ceiling(400, "fp8"), ceiling(100, "fp32")))
    assert bare.main.flops_per_s == 400


def test_rows_have_the_same_columns_and_a_ceiling_one_for_each_dtype() -> None:
    point = Point(
        device="x", name="mlp", kind="matmul", phase="forward", dtype="bf16", intensity=50.0, flops_per_s=150.0,
        ideal_flops_per_s=200.0, seconds=1.0, share=0.5,
    )  # fmt: skip
    rows = RooflineData(title="t", panels=(Panel(roof=ROOF, points=(point,)),)).rows()
    assert [row["series"] for row in rows] == ["ceiling"] * 4 + ["bandwidth", "op"]
    assert [row["dtype"] for row in rows[:4]] == ["fp8", "bf16", "fp16", "fp32"]
    assert rows[1]["ridge_flop_per_byte"] == 20
    assert len({tuple(row) for row in rows}) == 1
