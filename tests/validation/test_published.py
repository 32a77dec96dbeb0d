"""Rows of published runs as cases: what is stated, what is assumed, what cannot be predicted."""

import pytest

from roofline.errors import RooflineError
from roofline.validation.published import case_of, cases
from roofline.validation.row_adapters import mixes_precision
from roofline.validation.row_config import fusions_of, network_of
from roofline.validation.row_model import model_of
from roofline.validation.rows import Skipped, read_rows, read_table

ROW = {
    "id": "mine-1",
    "source": "a table",
    "software": "Megatron-LM",
    "year": "2024",
    "model": "GPT 1B",
    "n_layers": "24",
    "d_model": "1536",
    "n_heads": "16",
    "d_ff": "6144",
    "gated_mlp": "0",
    "vocab_size": "51200",
    "seq_len": "2048",
    "device": "a100-sxm-80gb",
    "n_devices": "16",
    "devices_per_node": "8",
    "dtype": "bf16",
    "global_batch_sequences": "64",
    "micro_batch_sequences": "2",
    "tp": "2",
    "pp": "2",
    "vp": "1",
    "sharding": "zero1",
    "seq_parallel": "1",
    "recompute": "none",
    "attention": "flash2",
    "tokens_per_s_per_device": "5000",
}
MIXTRAL = {
    "n_layers": "32",
    "d_model": "4096",
    "n_heads": "32",
    "n_kv_heads": "8",
    "d_ff": "14336",
    "gated_mlp": "1",
    "vocab_size": "32000",
    "n_experts": "8",
    "experts_per_token": "2",
    "ep": "1",
}


def case(**changes):
    return case_of({**ROW, **changes})


def test_a_complete_row_is_one_configuration():
    found = case()
    (train,) = found.candidates
    assert found.assumed == ()
    assert (found.device_id, found.measured) == ("a100-sxm-80gb", 5000)
    assert (train.tp, train.pp, train.vp, train.num_devices) == (2, 2, 1, 16)
    assert (train.micro_batch, train.global_batch, train.recompute) == (2, 64, "none")
    assert (train.sharding, train.attention, train.stack, train.dtype) == (
        "zero1",
        "flash2",
        "megatron",
        "bf16",
    )
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


def test_a_blank_dtype_may_be_fp8_where_the_software_is_made_for_it():
    def dtypes(**changes):
        return {train.dtype for train in case(dtype="", **changes).candidates}

    assert dtypes(software="NeMo", device="h100-sxm-80gb") == {"bf16", "fp8"}
    assert dtypes(software="NeMo") == {"bf16"}  # an A100 has no fp8
    assert dtypes(device="h100-sxm-80gb") == {"bf16"}


def test_a_quantised_base_is_read_with_its_adapters():
    said = {"workload": "qlora", "quantization": "nf4", "tp": "1", "pp": "1", "n_devices": "1", "sharding": "none"}
    (train,) = case(
        **said, notes="LoRA rank 32 on q,v, dropout 0.05; base in nf4", global_batch_sequences="2"
    ).candidates
    assert (train.train, train.base_dtype, train.double_quant) == ("qlora", "nf4", True)
    assert (train.lora_rank, train.lora_modules, train.lora_dropout) == (32, "q_proj,v_proj", 0.05)


def test_a_trainer_mixes_precision_over_a_quantised_base_alone():
    said = {"workload": "lora", "software": "HF Trainer (transformers 4.48)"}
    assert not mixes_precision(said)
    assert mixes_precision({**said, "workload": "qlora", "quantization": "nf4"})
    assert mixes_precision({**said, "software": "NeMo 24.07"})
    assert not mixes_precision({"workload": "sft", "notes": "weights and Adam states in bf16, no fp32 copy"})


@pytest.mark.parametrize(
    ("software", "stack"),
    [
        ("Unsloth 2025.3", "unsloth"),
        ("axolotl 0.9 (PyTorch 2.6)", "axolotl"),
        ("torchtune", "torchtune"),
        ("PyTorch FSDP (HF Trainer, transformers 4.48)", "hf-trainer"),
        ("TRL 0.16", "hf-trainer"),
        ("PyTorch FSDP", "fsdp"),
    ],
)
def test_fine_tuners_have_profiles_of_their_own(software, stack):
    assert case(software=software, tp="1", pp="1", sharding="fsdp").candidates[0].stack == stack


def test_samples_packed_in_a_sequence_are_as_long_as_stated():
    assert case(packed="700").candidates[0].mean_len == 700
    unsaid = case(packed="1")
    assert unsaid.candidates[0].mean_len is None
    assert "samples as long as the sequence they are packed in" in unsaid.assumed


def test_fused_adapters_are_those_of_a_quantised_base():
    notes = "fused rms/rope/ce kernels and fused LoRA matmuls"
    assert "adapter" in fusions_of({"notes": notes, "quantization": "nf4"})
    assert "adapter" not in fusions_of({"notes": notes})


def test_adapters_are_in_attention_or_everywhere():
    found = case(workload="lora")
    assert {train.lora_modules for train in found.candidates} == {"attention", "all"}
    assert "adapters in attention or everywhere" in found.assumed


def test_mlperf_is_no_plain_pytorch():
    words = "MLPerf Training v5.1 llama31_8b AMD MI355X_EPYC_9575F_pytorch"
    assert case(software="", source=words, year="2025").candidates[0].stack == "nemo@25.12"


def test_a_row_runs_on_the_release_of_its_software():
    def stack(**changes):
        return case(**changes).candidates[0].stack

    assert stack(software="NeMo 26.06.01 / Megatron-Bridge (docs, 2026-07-21)") == "nemo@26.06.01"
    assert stack(software="NeMo (MLPerf v5.1)", year="2025") == "nemo@25.12"
    assert stack(software="NeMo", year="") == "nemo"  # the newest where nothing says when
    assert stack(software="Megatron-LM") == "megatron"  # no release of it is known to differ


def test_compiled_code_has_a_profile_of_its_own():
    sharded = {"software": "PyTorch FSDP (fms-fsdp)", "sharding": "fsdp", "tp": "1", "pp": "1"}
    assert case(**sharded, compiled="1").candidates[0].stack == "fsdp-compiled"
    assert case(**sharded, compiled="0").candidates[0].stack == "fsdp"
    assert case(software="torchtitan", compiled="1").candidates[0].stack == "torchtitan"


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


def test_known_mixtures_come_from_their_preset():
    assert model_of({**ROW, **MIXTRAL}).name == "mixtral-8x7b"
    other = model_of({**ROW, **MIXTRAL, "d_model": "2048", "d_ff_expert": "7168"})
    assert other.groups[0].mlp.expert.d_ff == 7168


def test_words_that_say_more():
    assert case(dtype="mxfp8", device="b200-sxm").candidates[0].dtype == "mxfp8"
    fp8 = case(dtype="fp8", device="b200-sxm", low_precision_recipe="fp8-rowwise").candidates[0]
    assert (fp8.dtype, fp8.low_precision_recipe) == ("fp8", "rowwise")
    assert case(attention="fused_softmax", notes="fused_softmax").candidates[0].attention == "unfused"
    assert case(attention_note="RMS kernel, fused CE/rotary").candidates[0].fused == (
        "cross_entropy",
        "norm",
        "rotary",
    )
    lora = case(workload="lora").candidates[0]
    assert (lora.train, lora.lora_rank) == ("lora", 16)
    assert case(seq_parallel="1", tp="1").candidates[0].sequence_parallel is False


@pytest.mark.parametrize(
    ("words", "devices", "expected"),
    [
        ("", 8, None),
        ("InfiniBand", 8, None),
        ("InfiniBand 8x200Gb/s per node", 8, 200),
        ("1.6Tb/s", 8, None),
        ("4x 200 Gb/s per node", 8, 100),
        ("RDMA 400Gb/s per GPU", 8, 400),
        ("4 Omni-Path links per node", 8, 50),
        ("100 Gbps per node", 4, 25),
    ],
)
def test_network_words(words, devices, expected):
    assert network_of(words, devices) == expected


def test_tables_that_cannot_be_read(tmp_path):
    path = tmp_path / "runs.csv"
    with pytest.raises(RooflineError, match="cannot read"):
        read_rows(path)
    path.write_text("id,device\n")
    with pytest.raises(RooflineError, match="no rows"):
        read_rows(path)
    path.write_text("id,device\na,b\n")
    with pytest.raises(RooflineError, match=r"no column .*seq_len"):
        read_rows(path)
    assert read_table(path) == [{"id": "a", "device": "b"}]
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RooflineError, match="not a text file"):
        read_table(path)
