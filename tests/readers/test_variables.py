"""Variables in values are filled in where the file sets them, and marked where nothing does."""

from typing import Any

import pytest

from roofline.errors import RooflineError
from roofline.readers.values import Unresolved
from roofline.readers.variables import DEEPEST, resolve


def one(text: str, *, variables: dict[str, Any] | None = None, **keys: Any) -> Any:
    return resolve({**keys, "asked": text}, variables or {}, "run.yaml")["asked"]


@pytest.mark.parametrize("text", ["$GBS", "${GBS}", "{{ GBS }}", "<GBS>"])
def test_every_way_to_write_a_variable(text: str) -> None:
    assert one(text, variables={"GBS": 64}) == 64
    assert one(f"{text}-run", variables={"GBS": 64}) == "64-run"
    assert one(text) == Unresolved(text=text, name="GBS")


def test_a_default_counts_where_nothing_is_set() -> None:
    assert one("${GBS:-128}") == 128
    assert one("${GBS:'4k'}") == "4k"
    assert one("${GBS:-128}", variables={"GBS": 64}) == 64


def test_other_keys_of_the_file_by_path_and_in_sections() -> None:
    assert one("${model.width}", model={"width": 512}) == 512
    assert one("${model}", model={"width": 512}) == Unresolved(text="${model}", name="model")  # a table is no value
    values = {"training": {"length": 8}, "asked": "${length}"}
    assert resolve(values, {}, "run.yaml", ["training"])["asked"] == 8


def test_a_chain_is_followed_and_a_circle_is_an_error() -> None:
    assert one("${a}", a="${b}", b="${c}", c=7) == 7
    with pytest.raises(RooflineError, match=r"^run\.yaml: the variables in .* go round in circles$"):
        one("${a}", a="${b}", b="${a}")
    long = {f"v{number}": f"${{v{number + 1}}}" for number in range(DEEPEST + 2)}
    with pytest.raises(RooflineError, match="circles"):
        one("${v0}", **long)


def test_inside_lists_and_tables() -> None:
    found = resolve({"a": ["$N", {"b": "$N"}], "c": 1.5}, {"N": 2}, "run.yaml")
    assert found == {"a": [2, {"b": 2}], "c": 1.5}
