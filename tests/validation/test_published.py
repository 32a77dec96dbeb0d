"""Rows of published runs as cases: what is stated, what is assumed, what cannot be predicted."""

import pytest

from roofline.validation.published import cases
from roofline.validation.rows import Skipped

from .published_rows import MIXTRAL, ROW, case


def test_a_complete_row_is_one_configuration():
    found = case()
    (train,) = found.candidates
    assert found.assumed == ()
    assert (found.device_id, found.measured) == ("a100-sxm-80gb", 5000)
    assert (train.tp, train.pp, train.vp, train.num_devices) == (2, 2, 1, 16)
    assert (train.micro_batch, train.global_batch, train.recompute) == (2, 64, "none")
    assert (train.sharding, train.attention, train.stack, train.dtype) == ("zero1", "flash2", "megatron", "bf16")
    assert train.sequence_parallel
    assert found.model.n_layers == 24


@pytest.mark.parametrize(
    ("blank", "options", "assumed"),
    [
        ("recompute", {"recompute": {"none", "full"}}, "recompute none or full"),
        # 64 sequences over 4 replicas, at least 2 micro batches for 2 stages
        ("micro_batch_sequences", {"micro_batch": {1, 2, 4, 8}}, "micro batch 1 or 2 or 4 or 8"),
        ("vp", {"vp": {1, 12}}, "1 or 12 virtual stages"),
        ("dtype", {"dtype": {"bf16"}}, "dtype bf16"),
        ("sharding", {"sharding": {"zero1"}}, "sharding zero1"),
        ("attention", {"attention": {"flash2"}}, "attention flash2"),
        ("software", {"stack": {"parallel"}}, "stack parallel"),
    ],
)
def test_a_blank_becomes_every_plausible_choice(blank, options, assumed):
    found = case(**{blank: ""})
    assert assumed in found.assumed
    for field, values in options.items():
        assert {getattr(train, field) for train in found.candidates} == values


def test_several_blanks_multiply():
    found = case(recompute="", micro_batch_sequences="")
    assert len(found.candidates) == 2 * 4


def test_no_batch_at_all():
    found = case(global_batch_sequences="", micro_batch_sequences="")
    assert {train.micro_batch for train in found.candidates} == {1, 2, 4}
    assert "micro batch 1 to 4, no accumulation" in found.assumed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tokens_per_s_per_device": ""}, "no measured throughput"),
        ({"tokens_per_s_per_device": "0"}, "no measured throughput"),
        ({"tokens_per_s_per_device": "-5"}, "row mine-1: tokens_per_s_per_device -5 is out of range"),
        ({"n_heads": "many"}, "row mine-1: n_heads 'many' is not a number"),
        ({"n_layers": ""}, "n_layers is not stated"),
        ({"tp": ""}, "tp is not stated"),
        ({"pp": ""}, "pp is not stated"),
        ({"seq_len": ""}, "seq_len is not stated"),
        ({"n_devices": "6"}, r"6 is not a multiple of tp\*pp\*cp = 4"),
        ({**MIXTRAL, "ep": ""}, "ep of a mixture of experts is not stated"),
        ({"micro_batch_sequences": "", "global_batch_sequences": "7"}, "none divides the global batch"),
    ],
)
def test_what_cannot_be_predicted_has_a_reason(changes, reason):
    with pytest.raises(Skipped, match=reason):
        case(**changes)


def test_fsdp_rows_need_no_degrees():
    found = case(tp="", pp="", sharding="fsdp", software="PyTorch FSDP")
    assert (found.candidates[0].tp, found.candidates[0].pp) == (1, 1)
    assert {"tp 1", "pp 1"} <= set(found.assumed)


def test_a_bad_row_leaves_the_others():
    found = cases([ROW, {**ROW, "tp": ""}, {**ROW, "n_layers": "many"}, ROW])
    assert [isinstance(item, tuple) for item in found] == [False, True, True, False]
    assert found[1][1] == "tp is not stated"
    assert "many" in found[2][1]
