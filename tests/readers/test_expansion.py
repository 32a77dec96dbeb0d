"""Words of a launch script with their variables filled in, as a POSIX shell fills them in."""

import pytest

from roofline.errors import RooflineError
from roofline.readers.expansion import CLOSE, OPEN, Expander

VARIABLES: dict[str, str | list[str]] = {"N": "8", "TWO": "a b", "EMPTY": "", "LIST": ["x", "y z"]}


def words(raw: str) -> list[str]:
    return Expander(dict(VARIABLES)).words(raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("$N", ["8"]),
        ("-n$N.", ["-n8."]),
        ("$TWO", ["a", "b"]),  # split where it is not quoted
        ('"$TWO"', ["a b"]),
        ("'$TWO'", ["$TWO"]),
        ("\\$N", ["$N"]),
        ("p$TWO'q r'", ["pa", "bq r"]),
        ('"${LIST[@]}"', ["x", "y z"]),
        ("${LIST[1]}", ["y", "z"]),
        ("${#TWO}", ["3"]),
        ("${NO:-7}", ["7"]),
        ("${EMPTY:-7}", ["7"]),
        ("${EMPTY-7}", []),
        ("${N:+set}", ["set"]),
        ("${NO:+set}", []),
        ("$((N * 2 + 1))", ["17"]),
        ("$((N / 3))", ["2"]),  # whole numbers
        ("$", ["$"]),
    ],
)
def test_as_a_shell_does(raw: str, expected: list[str]) -> None:
    assert words(raw) == expected


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("$NO", "NO"),
        ("${NO}", "NO"),
        ("$((NO + 1))", "NO"),
        ("${LIST[9]}", "LIST"),
        ("${LIST[²]}", "LIST"),
        ("${LIST[" + "9" * 5000 + "]}", "LIST"),
    ],
)
def test_what_nothing_sets_is_marked_by_name(raw: str, name: str) -> None:
    assert words(raw) == [f"{OPEN}{name}{CLOSE}"]


def test_commands_are_never_run() -> None:
    assert words("$(hostname -i)") == [f"{OPEN}$(hostname_-i){CLOSE}"]


def test_variables_that_double_each_other_end() -> None:
    names: dict[str, str | list[str]] = {"A": "x" * 60_000}
    with pytest.raises(RooflineError, match="not a launch script"):
        Expander(names).text('"$A$A"')
