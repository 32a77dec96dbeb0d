import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline
from roofline.answers import capacity
from roofline.config.settle import settle


@pytest.fixture(scope="module")
def xl():
    return roofline.load_model("gpt2-xl")


@pytest.fixture(scope="module")
def a100():
    return roofline.load_device("a100-sxm-40gb")


def test_the_largest_micro_batch_fits_and_the_next_does_not(xl, a100):
    run = settle(xl, a100, {"recompute": "full"})
    largest = capacity.max_micro_batch(run)
    assert largest > 1
    assert capacity.fits(run, micro_batch=largest)
    assert not capacity.fits(run, micro_batch=largest + 1)


def test_with_a_global_batch_only_its_divisors(xl, a100):
    free = capacity.max_micro_batch(settle(xl, a100, {"recompute": "full"}))
    bound = capacity.max_micro_batch(settle(xl, a100, {"recompute": "full", "global_batch": 12}))
    assert 12 % bound == 0
    assert bound <= free


def test_the_longest_sequence(a100):
    model = roofline.load_model("llama-3.2-1b")
    run = settle(model, a100, {"recompute": "full"})
    longest = capacity.max_seq_len(run)
    assert longest % 128 == 0
    assert capacity.fits(run, seq_len=longest)
    assert not capacity.fits(run, seq_len=longest + 128)


def test_learned_positions_bound_the_sequence():
    gpt2, device = roofline.load_model("gpt2"), roofline.load_device("h100-sxm-80gb")
    assert capacity.max_seq_len(settle(gpt2, device, {})) == 1024


def test_nothing_fits(a100):
    model = roofline.load_model("llama-3-70b")
    assert capacity.max_micro_batch(settle(model, a100, {})) == 0
    assert capacity.max_seq_len(settle(model, a100, {})) == 0


def estimate(result):
    options = {"micro_batch": result.train.micro_batch, "global_batch": result.train.global_batch}
    return roofline.estimate(result.model, result.device, **{**run_options(result), **options})


def run_options(result):
    return {name: getattr(result.train, name) for name in result.train.__struct_fields__ if name != "dp"}


def device_time(result):
    return result.step_time_s * result.train.num_devices / result.train.tokens_per_step


def possible(model, device, options):
    try:
        return roofline.memory(model, device, **options).fits
    except roofline.RooflineError:
        return False


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("gpt2-xl", {"micro_batch": 16}),
        ("llama-2-13b", {"num_devices": 8}),
        ("llama-3-8b", {"num_devices": 8, "global_batch": 64, "micro_batch": 4, "sharding": "fsdp"}),
        ("llama-2-7b", {"attention": "unfused", "dtype": "fp32", "num_devices": 4}),
        ("llama-3-8b", {}),
    ],
)
def test_fixes_fit_and_say_what_they_do(model, options):
    result = roofline.memory(model, "a100-sxm-80gb" if "llama" in model else "a100-sxm-40gb", **options)
    assert not result.fits
    assert 1 <= len(result.fixes) <= 5
    given = estimate(result)
    for fix in result.fixes:
        changed = {**options, "micro_batch": result.train.micro_batch, **fix.options}
        if "global_batch" not in changed:
            changed["global_batch"] = result.train.global_batch
        again = roofline.memory(model, result.device, **changed)
        assert again.fits
        assert again.total_bytes == pytest.approx(fix.total_bytes)
        assert again.fit_probability == pytest.approx(fix.fit_probability)
        assert fix.saved_bytes == pytest.approx(result.needed_bytes - again.needed_bytes)
        priced = roofline.estimate(model, result.device, **changed)
        assert priced.step_time_s == pytest.approx(fix.step_time_s)
        assert device_time(priced) / device_time(given) == pytest.approx(1 + fix.cost)
        for name in fix.options.keys() - {"global_batch", "stack"}:  # nothing can be left out
            without = {key: value for key, value in changed.items() if key != name or key in options}
            without[name] = getattr(result.train, name)
            if without[name] == fix.options[name]:  # what stays, and must be said
                continue
            assert not possible(model, result.device, without)
    assert [fix.cost for fix in result.fixes] == sorted(fix.cost for fix in result.fixes)


def test_a_change_of_layout_takes_the_profile_that_is_usual_for_it():
    given = {"num_devices": 8, "micro_batch": 1}
    usual = roofline.memory("llama-2-13b", "a100-sxm-80gb", **given)
    stacks = {fix.options.get("stack", "compiled") for fix in usual.fixes}
    assert usual.train.stack == "compiled"
    assert stacks <= {"compiled", "fsdp", "nemo"}
    assert "compiled" not in stacks  # all of them shard or split the parameters
    for fix in usual.fixes:
        assert f"{fix.options['stack']} stack" in fix.change
    own = roofline.memory("llama-2-13b", "a100-sxm-80gb", stack="megatron", **given)
    assert not any("stack" in fix.options for fix in own.fixes)


def test_sequence_parallelism_alone_is_the_fix_where_it_does():
    given = {"num_devices": 512, "tp": 8, "pp": 4, "micro_batch": 1, "seq_len": 12288}
    first = roofline.memory("llama-3.1-70b", "h100-sxm-80gb", sequence_parallel=False, **given).fixes[0]
    assert first.options == {"sequence_parallel": True}
    assert first.cost < 0  # norms and residuals are a tp-th of the work


def test_adapters_are_not_offered_an_optimizer_that_holds_little():
    lora = roofline.memory("llama-2-7b", "rtx-4090", train="lora", lora_rank=16, micro_batch=1)
    # 30.3 GiB of 24: half of each layer run again is likelier than not enough, all of it surely is
    assert [fix.options for fix in lora.fixes if fix.options.keys() <= {"recompute"}] == [{"recompute": "full"}]
    assert not any({"recompute", "optimizer"} <= fix.options.keys() for fix in lora.fixes)


def test_more_changes_are_offered_only_where_they_cost_less_on_the_same_software():
    for model, micro_batch in (("gpt2-xl", 16), ("gpt2-xl", 64), ("llama-3.2-1b", 16)):
        fixes = roofline.memory(model, "a100-sxm-40gb", micro_batch=micro_batch).fixes
        for one in fixes:
            fewer = [fix for fix in fixes if changed(fix) < changed(one) and stack(fix) == stack(one)]
            assert all(one.cost < fix.cost for fix in fewer)


def changed(fix):
    return len(fix.options.keys() - {"global_batch", "stack"})


def stack(fix):
    return fix.options.get("stack")


def test_a_configuration_that_fits_needs_no_fix():
    assert roofline.memory("gpt2", "h100-sxm-80gb").fixes == ()


@settings(max_examples=25)
@given(limit=st.integers(1, 5000), largest=st.integers(0, 6000))
def test_largest_finds_the_edge(limit, largest):
    assert capacity._largest(lambda value: value <= largest, limit) == min(limit, largest)


def test_the_longest_sequence_is_never_below_one_that_fits(a100):
    model = roofline.load_model("gpt2-xl")
    short = settle(model, a100, {"micro_batch": 64, "seq_len": 32})
    longest = capacity.max_seq_len(short)
    assert 32 <= longest < 128  # not even one tile of 128 fits, so single tokens
    assert capacity.fits(short, seq_len=longest)
    assert not capacity.fits(short, seq_len=longest + 1)
    split = settle(model, a100, {"micro_batch": 64, "seq_len": 32, "cp": 2})
    assert capacity.max_seq_len(split) % 2 == 0


def changes(model, device, **options):
    return [fix.change for fix in roofline.memory(model, device, **options).fixes]


@pytest.mark.parametrize(
    ("model", "device", "options", "words"),
    [
        ("llama-2-13b", "a800-sxm-80gb", {"num_devices": 2}, "8 devices with fsdp sharding"),
        ("gpt2-xl", "a100-sxm-40gb", {"micro_batch": 16}, "full recompute"),
        ("llama-2-70b", "h100-sxm-80gb", {}, "16 devices with fsdp sharding + full recompute"),
        ("llama-2-70b", "h100-sxm-80gb", {}, "32 devices with tensor parallel 8"),
        ("llama-3-8b", "a100-sxm-40gb", {"num_devices": 8}, "fsdp sharding + full recompute"),
    ],
)
def test_fixes_are_those_an_expert_names(model, device, options, words):
    assert any(words in change for change in changes(model, device, **options))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("gpt2-xl", {"micro_batch": 16}),
        ("gpt2-xl", {"micro_batch": 64}),
        ("llama-3-8b", {"num_devices": 8}),
        ("llama-2-13b", {"num_devices": 2}),
    ],
)
def test_no_fix_is_another_with_something_added(model, options):
    fixes = roofline.memory(model, "a100-sxm-40gb", **options).fixes
    for fix in fixes:
        assert not any(other.options.items() < fix.options.items() for other in fixes)
        assert "lora_rank" not in fix.options  # trains something else than was asked


def test_only_long_sequences_are_split():
    given = {"num_devices": 8, "sharding": "fsdp", "recompute": "full"}
    long = changes("llama-3-8b", "h100-sxm-80gb", seq_len="128k", **given)
    assert any("context parallel" in change for change in long)
    short = changes("llama-3-8b", "h100-sxm-80gb", seq_len="8k", **{**given, "micro_batch": 64})
    assert short
    assert not any("context parallel" in change for change in short)


@pytest.mark.parametrize(
    ("layout", "words", "flight"),
    [
        # llama-3-8b has 218,112,000 parameters in a layer and 525,336,576 in table and head each
        ({"pp_layout": "8,8,8,8"}, "2.27B x", "4 micro batches in flight"),  # the first
        ({"pp_layout": "1,15,1,15", "recompute": "full"}, "3.8B x", "1 micro batch"),  # the last, with the head
        ({"pp_layout": "1,15,1,15"}, "3.27B x", "3 micro batches in flight"),  # the second
        ({"pp_layout": "8,8,8,8", "schedule": "dualpipe"}, "2.27B x", "5 micro batches in flight"),
    ],
)
def test_what_is_explained_is_of_the_fullest_stage(layout, words, flight):
    options = {"num_devices": 4, "micro_batch": 1, "global_batch": 16, "seq_len": 4096, "stack": "megatron"}
    found = roofline.memory("llama-3-8b", "h100-sxm-80gb", **options, **layout)
    copies = 2 if "schedule" in layout else 1
    assert found.explained["weights_bytes"] == f"{words} {2 * copies} bytes"
    assert found.explained["optimizer_bytes"] == f"{words} 12 bytes"
    assert found.explained["activations_bytes"].endswith(f"kept for backward, {flight}")
