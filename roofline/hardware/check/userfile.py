"""Reads a user's own device file or board: every mistake is one line with file, row or key, value and rule."""

from __future__ import annotations

import os

import msgspec

from ...reading import read_toml
from ..boards import Board, board, figures
from ..catalog import complete
from ..database import read_csv
from ..device import Device, Figures
from ..errors import HardwareError, RooflineError, nearest, quoted
from ..measured import range_problems
from ..schema import mistake
from .boards import board_problems
from .rules import figure_problems


def load_user_device(path: str) -> Device:
    """The device a user's file describes.

    Raises:
        HardwareError: no such file, not TOML, a wrong or missing key, unit, figure or source.
    """
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        raise HardwareError(f"cannot read device file '{path}': it is a folder; name the .toml in it")
    if not path.endswith(".toml"):
        raise HardwareError(f"cannot read device file '{path}': a device file ends in .toml")
    try:
        tables = read_toml(path, "device file")
    except RooflineError as error:
        raise HardwareError(str(error)) from None
    try:
        figures = msgspec.convert(tables, Figures)
    except msgspec.ValidationError as error:
        raise HardwareError(f"{path}: {mistake(tables, Figures) or error}") from error
    try:
        return _checked(figures)
    except HardwareError as error:
        raise HardwareError(f"{path}: {error}") from error


def load_user_board(spec: str) -> Device:
    """The device of a row of a user's table of boards: ``boards.csv:ID``, or ``boards.csv`` where it has one row.

    Raises:
        HardwareError: no such file or row, or a row that breaks a rule.
    """
    path, _, wanted = os.path.expanduser(spec).rpartition(".csv")
    path, wanted = f"{path}.csv", wanted.removeprefix(":")
    rows = {row.get("id", f"{number}"): row for number, row in enumerate(read_csv(path), start=2)}
    if not rows:
        raise HardwareError(f"{path}: no rows below its heading")
    if not wanted and len(rows) > 1:
        raise HardwareError(f"{path} has {len(rows)} boards: name one, e.g. {path}:{next(iter(rows))}")
    key = wanted or next(iter(rows))
    if key not in rows:
        close = nearest(key, rows) or list(rows)[:5]
        raise HardwareError(f"{path}: no board '{key}': did you mean {quoted(close)}?")
    try:
        return _checked_board(board(rows[key], path))
    except HardwareError as error:
        place = f"{path}, row {key}: "
        raise HardwareError(place + str(error).removeprefix(place)) from error


def _checked_board(one: Board) -> Device:
    for problem in board_problems(one):
        raise HardwareError(str(problem))
    return complete(figures(one))


def _checked(figures: Figures) -> Device:
    for problem in figure_problems(figures):
        raise HardwareError(str(problem))
    device = complete(figures)
    for problem in range_problems(device.measured, cpu=device.kind == "cpu"):
        raise HardwareError(str(problem))
    return device
