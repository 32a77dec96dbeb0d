"""Commands parse, call and emit: what an answer looks like is said in views."""

import ast
from pathlib import Path

import pytest

from roofline import commands

MODULES = sorted(Path(commands.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_command_builds_a_table(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {name.rpartition(".")[2] for name in called} & {"Table", "Cell", "Shown"}
