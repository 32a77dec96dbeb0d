"""Options that say how a model is trained, as they are typed: alone, and as lists and ranges."""

import argparse

import pytest

from roofline import units
from roofline.commands.training import add_training_arguments, sweep
from roofline.config.run import TrainConfig
from roofline.errors import RooflineError


def parsed(*words: str, sweeps: bool = False) -> dict[str, object]:
    """The fields of `TrainConfig` that the words say."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_training_arguments(parser, sweeps=sweeps)
    found = vars(parser.parse_args(words))
    return {name: value for name, value in found.items() if name in TrainConfig.__struct_fields__ and value is not None}


def test_every_field_of_a_run_can_be_typed_and_is_nothing_until_it_is():
    parser = argparse.ArgumentParser()
    add_training_arguments(parser)
    found = vars(parser.parse_args([]))
    missing = set(TrainConfig.__struct_fields__) - set(found)
    assert missing == {"recompute_detail"}  # --recompute reads what it says
    assert all(found[name] is None for name in TrainConfig.__struct_fields__ if name in found)


def test_numbers_words_and_switches():
    said = parsed(
        "--seq-len", "2k", "--dtype", "bfloat16", "--no-sequence-parallel", "--dropout", "--no-master-weights"
    )
    assert said == {
        "seq_len": 2048,
        "dtype": "bf16",
        "sequence_parallel": False,
        "dropout": True,
        "master_weights": False,
    }


def test_names_that_do_not_spell_their_field():
    said = parsed("--fp8-recipe", "current", "--host-bandwidth", "300", "--network-bandwidth", "400")
    assert said == {"low_precision_recipe": "current", "host_gb_per_s": 300.0, "network_gbit_per_s": 400.0}


def test_sweeps_take_lists_doublings_and_steps():
    said = parsed("--tp", "1:8", "--micro-batch", "1,3", "--dtype", "bf16,fp8", "--dp", "2:6:2", sweeps=True)
    assert said == {"tp": (1, 2, 4, 8), "micro_batch": (1, 3), "dtype": ("bf16", "fp8"), "dp": (2, 4, 6)}


def test_a_list_where_one_value_is_asked_for_points_to_compare():
    with pytest.raises(argparse.ArgumentError, match="'roofline compare' takes lists"):
        parsed("--tp", "1,2")


@pytest.mark.parametrize(
    ("text", "sweeps", "expected"),
    [
        ("attention,mlp", False, "attention,mlp"),  # commas join the modules of one run
        ("attention+mlp,all", True, ("attention,mlp", "all")),  # and in a sweep they part the runs
    ],
)
def test_modules_of_adapters(text, sweeps, expected):
    assert parsed("--lora-modules", text, sweeps=sweeps) == {"lora_modules": expected}


def test_ways_to_recompute_are_several_and_modules_are_one():
    assert parsed("--recompute", "none,full", sweeps=True) == {"recompute": ("none", "full")}
    joined = parsed("--recompute", "core_attn,mlp", sweeps=True)
    assert joined == parsed("--recompute", "core_attn,mlp")


def test_a_network_given_twice_is_refused():
    with pytest.raises(argparse.ArgumentError, match="given twice"):
        parsed("--network-gbit", "200", "--network-bandwidth", "400")


def test_sweeps():
    lengths = sweep(units.sequence_length)
    assert lengths("2k:64k") == (2048, 4096, 8192, 16384, 32768, 65536)
    assert lengths("4096") == 4096
    batches = sweep(units.positive_int)
    assert batches("1,2,4,8") == (1, 2, 4, 8)
    assert batches("3:13") == (3, 6, 12)
    assert batches("8:32:8") == (8, 16, 24, 32)


@pytest.mark.parametrize("typed", ["64k:2k", "1:2:3:4", "1,,2", "1:", "1:1e9:1", "2,048"])
def test_sweeps_reject(typed):
    with pytest.raises(RooflineError):
        sweep(units.sequence_length)(typed)


@pytest.mark.parametrize("text", ["1-4", "1..4", "2k - 8k"])
def test_a_range_as_others_write_it_is_explained(text):
    first, last = text.replace("..", "-").replace(" ", "").split("-")
    with pytest.raises(units.UnitError, match=f"write {first}:{last} for doublings, {first}:{last}:1 for each"):
        sweep(units.positive_int)(text)
