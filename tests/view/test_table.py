import csv
import io
import math

import numpy as np
import pytest

from roofline.view.table import Cell, Table, render_csv, render_markdown, render_text

TIMES = Table(
    "Where the time goes",
    ("op", "time", "share", "why"),
    [
        ("matmul", Cell(2.9, "2.9 s"), "61.2 %", None),
        (
            "attention",
            Cell(0.91, "910 ms"),
            "6.2 %",
            "scores | softmax, of every head and every token of every sequence",
        ),
    ],
    keys=("op", "time_s", "share", "why"),
)


def test_text_is_aligned_and_wrapped():
    assert render_text([TIMES], ["A note."], width=60).splitlines() == [
        "Where the time goes",
        "op           time   share  why",
        "─────────  ──────  ──────  ─────────────────────────────────",
        "matmul      2.9 s  61.2 %  -",
        "attention  910 ms   6.2 %  scores | softmax, of every head",
        "                           and every token of every sequence",
        "",
        "A note.",
    ]


@pytest.mark.parametrize("width", range(30, 60))
def test_no_option_is_broken(width):
    words = "set --lora-rank 16 and --stack hf-trainer beside --sequence-parallel"
    shown = render_text([Table("", ("", ""), [("words", words)])], [words], width=width).split()
    assert [shown.count(word) for word in ("--lora-rank", "hf-trainer", "--sequence-parallel")] == [2, 2, 2]


@pytest.mark.parametrize("width", [20, 50, 60, 80, 100, 200])
def test_text_loses_nothing(width):
    text = " ".join(render_text([TIMES], width=width).split())
    for word in ("matmul", "2.9 s", "61.2 %", "attention", "910 ms", "scores", "softmax,", "sequence"):
        assert word in text
    if width >= 50:
        assert max(map(len, render_text([TIMES], width=width).splitlines())) <= width


def test_no_headings_no_rule():
    table = Table("", ("", ""), [("MFU", "50.8 %"), ("steps", 12000)])
    assert render_text([table]) == "MFU    50.8 %\nsteps  12,000\n"


def test_empty_table_has_its_headings():
    assert render_text([Table("Layouts", ("tp", "pp"), [])]) == "Layouts\ntp  pp\n──  ──\n"


def test_csv_holds_exact_values():
    rows = list(csv.reader(io.StringIO(render_csv(TIMES))))
    assert rows[0] == ["op", "time_s", "share", "why"]
    assert rows[1] == ["matmul", "2.9", "61.2 %", ""]
    exact = Table("", ("n",), [(2**70,), (1 / 3,), (np.float64(0.1),), (math.nan,)])
    assert render_csv(exact) == f'n\n{2**70}\n{1 / 3!r}\n0.1\n""\n'


def test_markdown():
    assert render_markdown([TIMES], ["A note."]).splitlines()[:5] == [
        "**Where the time goes**",
        "",
        "| op | time | share | why |",
        "| --- | ---: | ---: | --- |",
        "| matmul | 2.9 s | 61.2 % | - |",
    ]
    assert "scores \\| softmax" in render_markdown([TIMES])


WIDE = Table(
    "Layouts",
    ["tp", "pp", "Step", "10-90 % range", "MFU", "Memory"],
    [
        [1, 8, "70.9 s", "65.9 to 76.4 s", "65.8 %", "70.97 GiB"],
        [2, 16, "71.4 s", "66.3 to 76.9 s", "65.4 %", "65.04 GiB"],
    ],
    names=2,
)


def test_a_table_that_is_too_wide_stands_in_parts_that_each_name_their_rows():
    text = render_text([WIDE], width=30)
    assert max(map(len, text.splitlines())) <= 30
    heads = [line.split()[:2] for line in text.splitlines() if "tp" in line]
    assert heads == [["tp", "pp"]] * 2
    assert all(each in text for row in WIDE.rows for each in map(str, row))  # no word is broken


@pytest.mark.parametrize("width", [24, 30, 40, 48, 60, 80, 100])
def test_no_table_is_wider_than_the_terminal(width):
    assert max(map(len, render_text([WIDE], width=width).splitlines())) <= width


def test_headings_give_way_before_figures_do():
    table = Table("", ["", "in 10-90 % range"], [["all", "87.4 %"]])
    assert render_text([table], width=14).splitlines() == [
        "      in 10-90",
        "       % range",
        "───  ─────────",
        "all     87.4 %",
    ]


def test_a_tall_table_stays_whole():
    table = Table("", ["device", "a long heading", "another long heading"], [["x" * 20, "y" * 20, "z" * 20]] * 60)
    assert sum("device" in line for line in render_text([table], width=40).splitlines()) == 1


def test_red_says_only_that_it_does_not_fit():
    table = Table("", ["", ""], [["Answer", "DOES NOT FIT: 3 GiB short"]], align="ll")
    assert "\033[1;31mDOES NOT FIT\033[0m: 3 GiB" in render_text([table], bold=True)
    assert "\033" not in render_text([table])


@pytest.mark.parametrize("width", [60, 80])
def test_a_tall_table_breaks_its_long_names_and_stays_whole(width):
    name = "a-device-of-a-very-long-name-80gb"
    numbers = tuple(f"figure{n}" for n in range(5))
    table = Table("", ("device", *numbers), [(name, *(1000.5 + row for _ in numbers)) for row in range(50)])
    lines = render_text([table], width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("device") for line in lines) == 1
    assert sum("80gb" in line for line in lines) == 50


def test_a_tall_table_without_room_leaves_columns_out_and_says_so():
    rows = [["x" * 12, *range(5)]] * 60
    table = Table("", ["device", "first", "second", "third", "fourth", "fifth"], rows, spare=("second",))
    lines = render_text([table], width=40).splitlines()
    assert max(map(len, lines)) <= 40
    assert lines[0].split() == ["device", "first", "third", "fourth", "fifth"]
    assert " ".join(lines[-2:]).strip() == "Left out of 40 columns: second (--format csv has all)."
    assert "second" in render_text([table], width=60).splitlines()[0]
    lines = render_text([table], width=24).splitlines()
    assert lines[0].split() == ["device", "first", "third"]
