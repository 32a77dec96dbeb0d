"""Every board of the catalog obeys the rules, and each rule catches the mistake it is for."""

import pytest

from roofline.hardware import boards
from roofline.hardware.boards import Board, board
from roofline.hardware.check.boards import board_problems

ROWS = boards.rows()


def problems(one: Board) -> list[str]:
    return [str(problem) for problem in board_problems(one)]


@pytest.mark.parametrize("device_id", ROWS)
def test_every_rule_holds_for_every_board(device_id: str) -> None:
    assert problems(board(ROWS[device_id])) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stated_tflops": "bf16=195"}, "stated_tflops.bf16 = 195: is the 2x sparse figure; the dense one is 97.47"),
        ({"stated_tflops": "bf16=104"}, "units x FLOPs per cycle x clock is 97.47 (within 3%)"),
        ({"stated_tflops": "tf32=48.7", "stated_in": ""}, "name the document"),
        ({"stated_in": "elsewhere"}, "stated_in = 'elsewhere': not among the sources of the row"),
        ({"gb_per_s": "0.717"}, "memory.bandwidth.gb_per_s = 0.717: too small (is it in TB/s? give GB/s)"),
        ({"gb_per_s": "800"}, "memory.bandwidth.gb_per_s = 800: bus x clock is 716.8"),
        ({"boost_mhz": "2.505"}, "is it in GHz? give MHz"),
        ({"power_w": "0.3"}, "is it in kW? give W"),
        ({"memory_gib": "160000"}, "is it in bytes or KiB? give MiB"),
        ({"variant": "gamer"}, "variant = 'gamer': ada has pro, geforce, l40"),
        ({"units": ""}, "needed for the peak: units x FLOPs per cycle x clock"),
        ({"peak_tflops": "bf16=97"}, "the rates of ada give the peaks"),
        ({"power_range_w": "60-115"}, "power_range_w = '60-115': does not hold power_w = 320"),
        ({"sources": "techpowerup: GeForce RTX 4080"}, "confidence high needs 2 documents"),
        ({"matmul_tflops": "bf16=150"}, "above 1.2 of the peak: units or clock are wrong"),
        ({"sources": "somebody said"}, "give document: place, several separated by |"),
    ],
)
def test_a_rule_catches_its_mistake(change: dict[str, str], message: str) -> None:
    row = {key: cell for key, cell in {**ROWS["rtx-4080"], **change}.items() if cell}
    assert message in " / ".join(problems(board(row)))


def test_confidence_high_needs_two_sources_of_units_and_clock() -> None:
    evidence = {"stated_in", "stated_tflops", "matmul_tflops", "second_source"}
    row = {key: cell for key, cell in ROWS["rtx-4080"].items() if key not in evidence}
    assert any("second source of units x clock" in problem for problem in problems(board(row)))
    assert problems(board({**row, "confidence": "medium"})) == []


def test_share_of_boards_that_two_sources_confirm() -> None:
    found = [board(row) for row in ROWS.values()]
    high = [one for one in found if one.confidence == "high"]
    assert len(high) >= 40
    assert sum(one.confidence != "low" for one in found) / len(found) > 0.7
