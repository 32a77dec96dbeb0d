"""Low-precision recipes: whose dtype, and which is taken."""

import pytest

from roofline.config.options import read_options
from roofline.config.recipes import recipe_for, recipes, recipes_of
from roofline.config.settle import settle
from roofline.config.stack import load_stack
from roofline.errors import RooflineError
from roofline.hardware import load_device
from roofline.model.load import load_model

B200, H100 = load_device("b200-sxm"), load_device("h100-sxm-80gb")


def trained(device=B200, **options):
    return settle(load_model("gpt2-xl"), device, {"micro_batch": 1, **options})


def test_recipes_of_each_dtype():
    assert recipes_of("fp8") == ("delayed", "current", "rowwise", "blockwise")
    assert (recipes_of("mxfp8"), recipes_of("nvfp4"), recipes_of("bf16")) == (("mxfp8",), ("nvfp4",), ())
    assert all(recipe.source for recipe in recipes().values())


def test_fp4_is_another_word_for_nvfp4():
    assert read_options({"dtype": "fp4"}) == {"dtype": "nvfp4"}
    assert trained(dtype="fp4").train.low_precision_recipe == "nvfp4"


def test_the_stack_says_how_fp8_scales_where_nobody_does():
    assert trained(dtype="fp8", stack="megatron").train.low_precision_recipe == "delayed"
    assert trained(dtype="fp8", stack="fsdp", sharding="fsdp").train.low_precision_recipe == "current"
    assert trained(dtype="fp8", low_precision_recipe="blockwise").train.low_precision_recipe == "blockwise"
    assert trained().train.low_precision_recipe == "none"
    assert recipe_for("mxfp8", load_stack("nemo"), "current") == "mxfp8"


@pytest.mark.parametrize(
    ("device", "options", "words"),
    [
        (B200, {"low_precision_recipe": "current"}, "one of dtype fp8, and this is bf16: set --dtype fp8"),
        (B200, {"dtype": "fp8", "low_precision_recipe": "mxfp8"}, "set --dtype mxfp8"),
        (B200, {"dtype": "fp8", "low_precision_recipe": "tensor"}, "unknown fp8 recipe 'tensor'"),
        (H100, {"dtype": "mxfp8"}, "needs matrix engines that read a scale per block"),
    ],
)
def test_what_does_not_go_together(device, options, words):
    with pytest.raises(RooflineError, match=words):
        trained(device, **options)


def test_another_dtype_has_another_recipe():
    run = trained(dtype="fp8", low_precision_recipe="current")
    assert run.changed(dtype="bf16").train.low_precision_recipe == "none"
    assert run.changed(dtype="nvfp4").train.low_precision_recipe == "nvfp4"
