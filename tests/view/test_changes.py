"""One change a row."""

from types import SimpleNamespace
from typing import Any

from roofline.view.changes import changes_table


def test_at_most_so_many_with_the_gain_in_percent() -> None:
    found: Any = [SimpleNamespace(what=f"w{n}", step_time_s=1.0, mfu=0.5, explains=0.125 * n) for n in range(8)]
    table = changes_table("t", "explains", found, most=3)
    assert [row[0] for row in table.rows] == ["w0", "w1", "w2"]
    assert [row[3].text for row in table.rows] == ["0 %", "12 %", "25 %"]
    assert table.rows[1][3].value == 0.125
