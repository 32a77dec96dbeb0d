"""The model of a published row."""

from roofline.validation.row_model import model_of

from .published_rows import MIXTRAL, ROW


def test_known_mixtures_come_from_their_preset():
    assert model_of({**ROW, **MIXTRAL}).name == "mixtral-8x7b"
    other = model_of({**ROW, **MIXTRAL, "d_model": "2048", "d_ff_expert": "7168"})
    assert other.groups[0].mlp.expert.d_ff == 7168


def test_hybrids_are_those_of_the_hub_by_their_dimensions():
    sizes = {"n_layers": "118", "d_model": "8192", "n_heads": "64", "n_kv_heads": "8", "d_ff": "32768"}
    assert model_of({**ROW, **sizes}).name == "nemotron-h-56b"
    assert model_of({**ROW, **sizes, "n_layers": "80"}).groups[0].recurrence is None  # a plain decoder


def test_a_model_of_the_hub_says_what_its_class_hands_back():
    sizes = {"n_layers": "24", "d_model": "2048", "n_heads": "16", "d_ff": "8192"}  # of starcoderbase-1b
    for heads, hands_back in (("1", True), ("16", False)):
        assert model_of({**ROW, **sizes, "n_kv_heads": heads}).groups[0].attention.hands_back_cache == hands_back


def test_the_class_of_a_named_preset_says_whether_queries_keys_and_values_are_one_product():
    sizes = {"n_layers": "24", "d_model": "1024", "n_heads": "16", "n_kv_heads": "16", "d_ff": "4096"}
    for name, joint in (("gpt2-medium", True), ("opt-350m", False), ("Llama 350M", False)):
        assert model_of({**ROW, **sizes, "model": name}).groups[0].attention.joint_qkv == joint


def test_a_name_and_its_dimensions_tell_of_windows_and_wide_heads():
    sizes = {"n_layers": "48", "d_model": "3840", "n_heads": "16", "n_kv_heads": "8", "d_ff": "15360", "gated_mlp": "1"}
    named = model_of({**ROW, **sizes, "model": "Gemma3-12B"})
    assert {(group.attention.window, group.attention.head_dim) for group in named.groups} == {(1024, 256), (None, 256)}
    for other in ({"model": "Llama 12B"}, {"model": "Gemma3-12B", "n_layers": "24"}):
        plain = model_of({**ROW, **sizes, **other})
        assert {(group.attention.window, group.attention.head_dim) for group in plain.groups} == {(None, 240)}


def test_a_classifier_has_no_logits_of_its_vocabulary():
    names = ("bert-large", "bert-large (sequence classification)")
    assert [model_of({**ROW, "model": name}).has_head for name in names] == [True, False]
