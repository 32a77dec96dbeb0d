import argparse
import json
import math
import stat

import msgspec
import numpy as np
import pytest

from roofline.commands.output import add_format_arguments, emit, settle_format
from roofline.errors import RooflineError
from roofline.view.table import Cell, Table

TIMES = Table("Where the time goes", ("op", "time"), [("matmul", Cell(2.9, "2.9 s"))], keys=("op", "time_s"))


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_format_arguments(parser)
    return parser.parse_args(arguments)


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


def test_csv_holds_the_records_where_they_are_not_the_first_table(capsys):
    emit(parse("--format", "csv"), {}, [TIMES], records=Table("", ["step_time_s"], [[0.5]]))
    assert capsys.readouterr().out == "step_time_s\n0.5\n"
