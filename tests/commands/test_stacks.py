import json

import pytest

from roofline.config.stack import stack_names


def test_list_has_every_profile(run):
    status, out, err = run("stacks")
    assert (status, err) == (0, "")
    for name in stack_names():
        assert f"\n{name} " in out


@pytest.mark.parametrize("name", stack_names())
def test_one_profile_with_its_source(run, name):
    out = run("stacks", name).out
    assert out.startswith(f"{name}: ")
    assert "Source: " in out
    data = json.loads(run("stacks", name, "--format", "json").out)
    assert data["name"] == name
    assert data["source"]


def test_unknown_profile(run):
    status, out, err = run("stacks", "megatrom")
    assert (status, out) == (2, "")
    assert "megatron" in err
