"""Settings written as Python are read as text: nothing in them runs."""

from pathlib import Path

import pytest

from roofline.errors import RooflineError
from roofline.readers.python_text import LONGEST, module_docstring, python_values
from roofline.readers.values import Unresolved


def test_assignments_and_their_arithmetic() -> None:
    text = "batch = 12\nlength: int = 2 * 512\nname = 'gpt'\ntokens = batch * length\nparts = [1, batch]\n"
    assert python_values(text, "s.py") == {
        "batch": 12,
        "length": 1024,
        "name": "gpt",
        "tokens": 12288,
        "parts": [1, 12],
    }


def test_arguments_of_calls_under_the_last_name_and_the_first_call_wins() -> None:
    text = "n = 4\nx = lib.Config(size=n, dtype=torch.bfloat16)\nif big():\n    y = Config(size=8, depth=2)\n"
    assert python_values(text, "s.py") == {"n": 4, "Config": {"size": 4, "dtype": "bfloat16"}}
    text = "def f():\n    return Outer(inner=Inner(Mode.full), kind=A(x=1) if on else B())\n"
    assert python_values(text, "s.py") == {
        "Outer": {"inner": "Inner", "kind": "A"},
        "Inner": {"first": "full"},
        "A": {"x": 1},
    }


def test_what_a_class_was_made_by() -> None:
    found = python_values("model = Llama.from_pretrained(name='x')", "s.py")
    assert found == {"Llama": {"name": "x", "made_by": "from_pretrained"}}


def test_an_option_of_the_program_is_at_its_default() -> None:
    text = (
        "LENGTH = 4096\nparser.add_argument('--steps', default=7)\n"
        "def f(options):\n    length = options.length or LENGTH\n    return Run(length=length, steps=options.steps)\n"
    )
    values = python_values(text, "s.py")
    assert values["Run"] == {"length": 4096, "steps": 7}


def test_a_program_says_how_it_is_launched() -> None:
    assert (
        module_docstring('"""Launch: torchrun --nproc-per-node=8 x.py"""\na = 1')
        == "Launch: torchrun --nproc-per-node=8 x.py"
    )
    assert module_docstring("a = (") == module_docstring("a = 1") == ""


def test_nothing_runs(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    assert python_values(f"a = open({str(mark)!r}, 'w')\nb = 9 ** 9 ** 9\nc = 3", "s.py") == {
        "b": Unresolved(text="9 ** 9 ** 9", name="=9 ** 9 ** 9"),
        "c": 3,
    }
    assert not mark.exists()


def test_what_is_no_python_is_one_line() -> None:
    for text in ("a = (", "a = 1\0"):
        with pytest.raises(RooflineError, match=r"^s\.py: not Python: "):
            python_values(text, "s.py")
    with pytest.raises(RooflineError, match="not a settings file"):
        python_values("#" * (LONGEST + 1), "s.py")
