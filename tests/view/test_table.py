import argparse
import csv
import io
import json
import math
import os
import stat

import msgspec
import numpy as np
import pytest

from roofline.errors import RooflineError
from roofline.view.table import (
    Cell,
    Table,
    add_format_arguments,
    emit,
    plain,
    render_csv,
    render_markdown,
    render_text,
    settle_format,
    write_atomically,
)

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


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_format_arguments(parser)
    return parser.parse_args(arguments)


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


def test_json_is_strict(capsys):
    class Part(msgspec.Struct):
        name: str
        values: tuple[float, ...]

    data = {
        "big": 10**30,
        "nan": math.inf,
        "part": Part("x", (1.0, math.nan)),
        "array": np.arange(2),
        "set": {"b", "a"},
    }
    emit(parse("--format", "json"), data, [TIMES], ["A note."])
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "notes": ["A note."],
        "big": 10**30,
        "nan": None,
        "part": {"name": "x", "values": [1.0, None]},
        "array": [0, 1],
        "set": ["a", "b"],
    }


def test_plain_numpy_scalars_are_python_numbers():
    assert [type(plain(value)) for value in (np.int64(1), np.float64(1.5), np.bool_(1))] == [int, float, bool]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "table"),
        (("--format", "csv"), "csv"),
        (("--output", "{}/x.json"), "json"),
        (("--output", "{}/x.MD"), "markdown"),
        (("--output", "{}/x.dat", "--format", "csv"), "csv"),
        (("--output", "-"), "table"),
    ],
)
def test_format_follows_the_suffix(tmp_path, arguments, expected):
    args = parse(*(argument.format(tmp_path) for argument in arguments))
    settle_format(args)
    settle_format(args)
    assert args.format == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "{}/x.xls"), "'.xls' names no format"),
        (("--output", "{}/x.json", "--format", "csv"), "says json but --format says csv"),
        (("--output", "{}/none/x.json"), "there is no folder"),
        (("--output", "{}", "--format", "csv"), "it is a folder"),
    ],
)
def test_output_errors(tmp_path, arguments, message):
    args = parse(*(argument.format(tmp_path) for argument in arguments))
    with pytest.raises(RooflineError, match=message):
        emit(args, {}, [TIMES])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["txt", "json", "csv", "md"])
def test_files_are_written_whole(tmp_path, suffix, capsys):
    path = tmp_path / f"result.{suffix}"
    path.write_text("old")
    path.chmod(0o640)
    emit(parse("--output", str(path)), {"time_s": 2.9}, [TIMES], ["A note."])
    assert capsys.readouterr().out == ""
    assert "2.9" in path.read_text(encoding="utf-8")
    assert "\033" not in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(RooflineError, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RooflineError, match="permission denied"):
        write_atomically(tmp_path / "x.json", b"{}")


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"
