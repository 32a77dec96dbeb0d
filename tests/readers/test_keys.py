"""Keys as rules look them up: what is read goes on record, and what is a variable without a value is refused."""

from typing import Any

import pytest

from roofline.readers.keys import FUNCTIONS, Keys, Table, UnsetVariable, Written, leaves
from roofline.readers.values import Unresolved


def keys(root: dict[str, Any], lift: list[str] | None = None, **known: Any) -> Keys:
    return Keys(root, lift or [], known)


def test_leaves_are_paths_and_an_empty_table_is_one() -> None:
    assert list(leaves({"a": {"b": {"c": 1}}, "d": {}})) == [("a.b.c", 1), ("d", {})]


def test_what_is_read_is_on_record_by_its_path() -> None:
    found = keys({"training": {"seq_len": "4096"}, "seed": 1}, ["training"])
    assert found.get("seq_len") == 4096  # text that is a number
    assert found.read == {"training.seq_len": "4096"}


def test_the_files_own_key_comes_before_a_sections_and_both_before_a_default() -> None:
    assert keys({"n": 1, "s": {"n": 2}}, ["s"], n=3).get("n") == 1
    assert keys({"s": {"n": 2}}, ["s"], n=3).get("n") == 2
    found = keys({}, ["s"], n=3)
    assert found.get("n") == 3
    assert found.assumed == {"n": 3}
    assert found.get("m", 7) == 7


def test_a_new_list_of_what_was_touched() -> None:
    found = keys({"a": 1, "b": 2})
    found.get("a")
    found.begin()
    found.get("b")
    assert (found.touched, found.read) == ({"b": 2}, {"a": 1, "b": 2})


def test_a_variable_without_a_value_is_refused_where_it_is_needed_and_text_where_it_is_not() -> None:
    value = Unresolved(text="${GBS}", name="GBS")
    found = keys({"batch": value})
    with pytest.raises(UnsetVariable) as error:
        found.get("batch")
    assert (error.value.key, error.value.value) == ("batch", value)
    assert Written(found)["batch"] == "${GBS}"


def test_tables() -> None:
    found = keys({"model": {"width": 8}}, **{"model.depth": 2})
    table = found.get("model")
    assert isinstance(table, Table)
    assert (table.get("width"), table.get("depth"), table.get("no", 5)) == (8, 2, 5)
    assert "depth" not in table
    with pytest.raises(KeyError):
        table["no"]


@pytest.mark.parametrize(
    ("function", "arguments", "value"),
    [
        ("has", ("Flash_Attention", "flash"), True),
        ("has", (["a", "b"], "c"), False),
        ("find", ("llama-70b", r"(\d+)b"), 70),
        ("find", ("llama", r"(\d+)b"), None),
        ("words", ("a, b  c",), ["a", "b", "c"]),
        ("product", ([2, None, 3],), 6),
        ("last_part", ("torch.optim.AdamW",), "AdamW"),
        ("listed", ("[0]*2+[1]*3",), [0, 0, 1, 1, 1]),
        ("listed", ("__import__('os')",), None),
        ("is_number", (True,), False),
        ("layer_changes", ([0], 8, None, None, 4), [{"layers": [0], "n_experts": 0}]),
        # of six layers every third attends to all
        ("layer_changes", ([], 0, 512, 3, 6), [{"layers": [0, 1, 3, 4], "window": 512}]),
        ("layer_changes", ([], 0, None, None, 6), None),
    ],
)
def test_functions_of_rules(function: str, arguments: tuple[Any, ...], value: Any) -> None:
    assert FUNCTIONS[function](*arguments) == value
