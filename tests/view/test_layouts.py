import roofline
from roofline.view import layouts as view
from roofline.view.table import cell_text


def searched(**options):
    return roofline.layouts("llama-2-7b", "h100-sxm-80gb", num_devices=8, global_batch=64, **options)


def test_the_recommendation_comes_first_in_two_lines():
    result = searched()
    (run, what), (because, why), *_ = view.tables(result)[0].rows
    assert (run, because) == ("Run", "Because")
    chosen = result.simplest or result.layouts[0]
    assert chosen.stack in what
    assert f"micro batch {chosen.micro_batch}" in what
    assert "fastest" in why


def test_memory_against_time_is_behind_full(printed):
    words = ("layouts", "llama-2-7b", "-d", "h100-sxm-80gb", "--num-devices", "8", "--global-batch", "64")
    assert "Time against memory" not in printed(*words)
    out = printed(*words, "--full")
    assert "Time against memory" in out
    assert "within a memory budget" in out


def test_nothing_fits_says_what_would():
    result = roofline.layouts("llama-3-70b", "h100-sxm-80gb", num_devices=4)
    assert result.remedy[0].startswith("It does not fit: ")
    assert result.remedy[1].startswith("To fit: ")
    assert view.recommendation(result) == []
    table = view.tables(result)[1]
    assert cell_text(table.title).startswith("No layout fits")
