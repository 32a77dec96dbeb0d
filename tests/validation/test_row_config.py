"""The configuration of a published row: what it states, and what its time and software leave open."""

import pytest

from roofline.config.asserts import RefusedError
from roofline.errors import RooflineError
from roofline.validation.rows import Skipped

from .published_rows import MIXTRAL, case


def test_older_rows_had_no_fused_attention():
    assert {train.attention for train in case(attention="", year="2021").candidates} == {"unfused"}


@pytest.mark.parametrize(
    ("changes", "attention"),
    [
        ({"source": "GPT-NeoX-20B (arXiv:2204.06745)"}, "unfused"),
        ({"source": "LLaMA (arXiv:2302.13971)"}, "flash1"),
        ({"source": "Llama 3 (arXiv:2407.21783)"}, "flash2"),
        ({"source": "a table"}, "flash2"),
        ({"source": "a table", "device": "v100-sxm2-32gb"}, "unfused"),  # written for Turing and later
        ({"source": "LLaMA (arXiv:2302.13971)", "year": "2024"}, "flash2"),
    ],
)
def test_attention_is_that_of_its_time(changes, attention):
    assert {train.attention for train in case(attention="", **{"year": "", **changes}).candidates} == {attention}


@pytest.mark.parametrize(
    ("changes", "dtype"),
    [
        ({"software": "Megatron-Core"}, "fp32"),
        ({"software": "Megatron-Core", "dtype": "fp16"}, "fp16"),
        ({"software": "Megatron-Core", "sharding": "fsdp", "pp": "1"}, "fp32"),
        ({"software": "Megatron-Core", "sharding": "fsdp", "pp": "1", "year": "2025"}, "bf16"),  # Megatron-FSDP
        ({"software": "NeMo 25.02 / Megatron-Bridge"}, "bf16"),
    ],
)
def test_gradients_are_summed_as_the_software_named_does_by_itself(changes, dtype):
    assert {train.gradient_dtype for train in case(**changes).candidates} == {dtype}


def test_a_blank_dtype_may_be_fp8_where_the_software_is_made_for_it():
    def dtypes(**changes):
        return {train.dtype for train in case(dtype="", **changes).candidates}

    assert dtypes(software="NeMo", device="h100-sxm-80gb") == {"bf16", "fp8"}
    assert dtypes(software="NeMo") == {"bf16"}  # an A100 has no fp8
    assert dtypes(device="h100-sxm-80gb") == {"bf16"}


@pytest.mark.parametrize(
    ("software", "stack"),
    [
        ("Unsloth 2025.3", "unsloth"),
        ("axolotl 0.9 (PyTorch 2.6)", "axolotl"),
        ("torchtune", "torchtune"),
        ("PyTorch FSDP (HF Trainer, transformers 4.48)", "hf-trainer@4.48"),
        ("HF Trainer (torch 2.4.1, HF 4.45.2)", "hf-trainer@4.45.2"),
        ("TRL 0.16", "hf-trainer"),
        ("PyTorch FSDP", "fsdp"),
    ],
)
def test_fine_tuners_have_profiles_of_their_own(software, stack):
    assert case(software=software, tp="1", pp="1", sharding="fsdp").candidates[0].stack == stack


@pytest.mark.parametrize(
    ("software", "sharding", "stack"),
    [
        ("PyTorch 2.1 FSDP", "fsdp", "fsdp"),  # not the eager profile that "PyTorch" alone is
        ("PyTorch DDP", "none", "eager"),
        ("OLMo-core", "fsdp", "torchtitan"),
        ("OLMo", "fsdp", "fsdp-compiled"),
        ("Levanter", "fsdp", "jax"),
    ],
)
def test_software_is_found_by_what_it_is_built_on(software, sharding, stack):
    assert case(software=software, tp="1", pp="1", sharding=sharding).candidates[0].stack == stack


def test_samples_packed_in_a_sequence_are_as_long_as_stated():
    assert case(packed="700").candidates[0].mean_len == 700
    unsaid = case(packed="1")
    assert unsaid.candidates[0].mean_len == unsaid.candidates[0].seq_len
    assert "samples as long as the sequence they are packed in" in unsaid.assumed


def test_mlperf_is_no_plain_pytorch():
    words = "MLPerf Training v5.1 llama31_8b AMD MI355X_EPYC_9575F_pytorch"
    assert case(software="", source=words, year="2025").candidates[0].stack == "nemo@25.12"


def test_a_row_runs_on_the_release_of_its_software():
    def stack(**changes):
        return case(**changes).candidates[0].stack

    assert stack(software="NeMo 26.06.01 / Megatron-Bridge (docs, 2026-07-21)") == "nemo@26.06.01"
    assert stack(software="NeMo (MLPerf v5.1)", year="2025") == "nemo@25.12"
    assert stack(software="NeMo", year="", source="arXiv:2504.14960") == "nemo@24.12"  # half a year before its paper
    assert stack(software="NeMo", year="") == "nemo"  # the newest where nothing says when
    assert stack(software="Megatron-LM") == "megatron"  # no release of it is known to differ


def test_compiled_code_has_a_profile_of_its_own():
    sharded = {"software": "PyTorch FSDP (fms-fsdp)", "sharding": "fsdp", "tp": "1", "pp": "1"}
    assert case(**sharded, compiled="1").candidates[0].stack == "fsdp-compiled"
    assert case(**sharded, compiled="0").candidates[0].stack == "fsdp"
    assert case(software="torchtitan", sharding="fsdp", compiled="1").candidates[0].stack == "torchtitan"


def test_printed_hfu_says_how_much_ran_again():
    def recompute(mfu, hfu):
        return case(recompute="selective", mfu_printed=mfu, hfu_printed=hfu).candidates[0].recompute

    # a forward pass is a third of the model's FLOPs: 55 % -> 74 % is 1.04 of one, 38 % -> 47 % is 0.71
    assert recompute("55", "74") == "full"
    assert recompute("38", "47") == recompute("", "") == "selective"


def test_experts_are_split_like_other_layers_where_the_software_does_so():
    experts = {**MIXTRAL, "sharding": "fsdp", "ep": "2"}
    assert [case(**experts, etp=etp).candidates[0].etp for etp in ("", "1")] == [2, 1]  # tp 2
    assert case(**experts, software="torchtitan").candidates[0].expert_tensor_parallel == 1


def test_words_that_say_more():
    assert case(dtype="mxfp8", device="b200-sxm").candidates[0].dtype == "mxfp8"
    fp8 = case(dtype="fp8", device="b200-sxm", low_precision_recipe="fp8-rowwise").candidates[0]
    assert (fp8.dtype, fp8.low_precision_recipe) == ("fp8", "rowwise")
    assert case(attention="fused_softmax", notes="fused_softmax").candidates[0].attention == "unfused"
    assert case(attention_note="RMS kernel, fused CE/rotary").candidates[0].fused == ("cross_entropy", "norm", "rotary")
    lora = case(workload="lora").candidates[0]
    assert (lora.train, lora.lora_rank) == ("lora", 16)
    assert case(seq_parallel="1", tp="1").candidates[0].sequence_parallel is False


def test_what_the_software_refuses_is_none_of_the_choices():
    # 24 layers on two stages: 1 or 12 virtual ones, which 64 / 8 / 2 = 4 micro batches fill, and 3 do not
    assert [train.vp for train in case(vp="", tp="1").candidates] == [1, 12]
    odd = case(vp="", tp="1", global_batch_sequences="48")
    assert [train.vp for train in odd.candidates] == [1]
    assert odd.assumed == ("1 or 12 virtual stages",)
    with pytest.raises(RefusedError, match="3 micro batches"):
        case(vp="12", tp="1", global_batch_sequences="48")


def test_maxtext_takes_the_whole_batch_at_once():
    blank = {"micro_batch_sequences": "", "software": "MaxText", "tp": "1", "pp": "1", "sharding": "fsdp"}
    found = case(**blank)  # 64 sequences on 16 devices
    assert [train.micro_batch for train in found.candidates] == [4]
    assert "no accumulation" in found.assumed
    assert len(case(**{**blank, "software": "torchtitan"}).candidates) == 3  # micro batch 1, 2 or 4


def test_a_plain_schedule_has_no_virtual_stages():
    vps = {schedule: {train.vp for train in case(vp="", schedule=schedule).candidates} for schedule in ("1f1b", "")}
    assert vps == {"1f1b": {1}, "": {1, 12}}  # 24 layers on 2 stages


@pytest.mark.parametrize(("device", "kernel"), [("h100-sxm-80gb", "flash3"), ("a100-sxm-80gb", "flash2")])
def test_nanochat_brings_its_attention_where_it_runs(device, kernel):
    layout = {"tp": "1", "pp": "1", "sharding": "", "attention": "", "device": device}
    assert case(software="nanochat (PyTorch)", **layout).candidates[0].attention == kernel


@pytest.mark.parametrize(("group", "sharding"), [("", "zero1"), ("8", "hzero1"), ("64", "zero1")])
def test_states_sharded_over_less_than_all_ranks_stay_within_a_node(group, sharding):
    row = {"tp": "1", "pp": "1", "n_devices": "64", "dp": "64", "global_batch_sequences": "128", "sharding": "zero1"}
    assert {train.sharding for train in case(**row, zero_group=group).candidates} == {sharding}


def test_llm_c_runs_the_attention_of_cudnn():
    assert {train.attention for train in case(software="llm.c (2024-10-13)", attention="").candidates} == {"te"}


@pytest.mark.parametrize("software", ["modded-nanogpt (PyTorch DDP)", "nanochat"])
def test_some_software_trains_with_muon(software):
    row = {"tp": "1", "pp": "1", "n_devices": "8", "dp": "8", "sharding": "zero1"}
    assert {train.optimizer for train in case(software=software, **row).candidates} == {"muon"}


def test_a_run_in_int8_is_left_out_and_says_why():
    with pytest.raises(Skipped, match="int8"):
        case(dtype="int8")


def test_a_sharding_that_nobody_knows_is_left_to_the_check_of_configurations():
    with pytest.raises(RooflineError, match="unknown sharding 'zero9': did you mean"):
        case(sharding="zero9", zero_group="4")


def test_a_lowered_power_limit_is_said():
    assert case(power_limited="1").assumed == ("default power limit",)
    assert case().assumed == ()
