import pytest

from roofline.config.stack import stack_names


def test_list_has_every_profile(printed):
    out = printed("stacks")
    for name in stack_names():
        assert f"\n{name} " in out


@pytest.mark.parametrize("name", stack_names())
def test_one_profile_with_its_source(answered, printed, name):
    out = printed("stacks", name)
    assert out.startswith(f"{name}: ")
    assert "Source: " in out
    data = answered("stacks", name)
    assert data["name"] == name
    assert data["source"]


def test_unknown_profile(refused):
    err = refused("stacks", "megatrom")
    assert "megatron" in err
