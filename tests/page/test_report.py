import re

import pytest

import roofline
from roofline.page.report import page, report_of


def text_of(path):
    return path.read_text(encoding="utf-8")


def test_a_page_is_one_file_that_loads_nothing(printed, tmp_path):
    path = tmp_path / "report.html"
    out = printed("report", "gpt2", "-d", "t4", "--micro-batch", "4", "--output", str(path))
    assert out.startswith(f"wrote {path} (")
    text = text_of(path)
    assert len(text) < 400_000
    assert "default-src 'none'" in text
    assert not re.search(r"(src|data|action|srcset)=|url\(|@import|<link|<iframe|fetch\(|XMLHttpRequest", text)


def test_it_has_the_answer_first_and_every_part(run, tmp_path):
    path = tmp_path / "report.html"
    layout = ("--num-devices", "16", "--tp", "2", "--pp", "4", "--global-batch", "16")
    run("report", "llama-3-8b", "-d", "h100-sxm-80gb", *layout, "-o", str(path))
    text = text_of(path)
    expected = roofline.estimate("llama-3-8b", "h100-sxm-80gb", num_devices=16, tp=2, pp=4, global_batch=16)
    step = f"{expected.step_time_s * 1e3:.3g} ms a step" if expected.step_time_s < 1 else "s a step"
    parts = [step, "From the dense peak", "Ops on the roofline", "The step over time", "Memory", "Other batches"]
    parts += ["What this rests on", "seen 20", "roofline report llama-3-8b -d h100-sxm-80gb --num-devices 16"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert f"-o {path}" not in text  # where the page went is of no use to its readers


def test_what_does_not_fit_is_written_and_told(run, tmp_path):
    path = tmp_path / "report.html"
    status, _, _ = run("report", "llama-2-70b", "-d", "a100-sxm-40gb", "-o", str(path))
    assert status == 3
    assert "Does not fit: " in text_of(path)
    assert "cheapest changes that make it fit" in text_of(path)


@pytest.mark.parametrize(
    ("name", "words"),
    [("report.pdf", "a page is HTML"), ("missing/report.html", "there is no folder"), ("", "a page is HTML")],
)
def test_a_page_that_cannot_be_written_is_refused(refused, tmp_path, name, words):
    err = refused("report", "gpt2", "-d", "t4", "-o", str(tmp_path / name))
    assert words in err
    assert err.count("\n") == 1


def test_markup_in_names_is_text(run, tmp_path, hostile):
    path = tmp_path / "report.html"
    status, _, _ = run("report", str(hostile), "-d", "h100-sxm-80gb", "-o", str(path))
    text = text_of(path)
    assert status == 0
    assert text.count("<script") == 2  # our data and our script
    assert "<img" not in text
    assert "<b onclick" not in text
    assert "&lt;img src=https://example.com/x onerror=&quot;alert(2)&quot;&gt;" in text


def test_a_run_file_is_read_as_elsewhere(run, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(
        "base_model: meta-llama/Meta-Llama-3-8B\nsequence_len: 2048\nmicro_batch_size: 1\nadapter: lora\n"
    )
    path = tmp_path / "report.html"
    status, _, err = run("report", str(config), "--framework", "axolotl", "-d", "h100-sxm-80gb", "-o", str(path))
    assert status == 0, err
    assert "LoRA of rank" in text_of(path)
    assert f"roofline report {config} --framework axolotl" in text_of(path)


def test_the_same_estimate_is_the_same_page():
    found = roofline.estimate("gpt2", "t4", micro_batch=1)
    pages = [page(report_of(found, "roofline report gpt2 -d t4")) for _ in range(2)]
    assert pages[0] == pages[1]


def test_a_traced_module_has_no_sliders(tmp_path):
    pytest.importorskip("torch")
    source = tmp_path / "net.py"
    source.write_text(
        "import torch\ndef build():\n    return torch.nn.Sequential(torch.nn.Linear(64, 64)), (torch.zeros(8, 64),)\n"
    )
    text = page(report_of(roofline.estimate(f"{source}:build", "t4"), "roofline report"))
    assert "Other batches" not in text
    assert "From the dense peak" in text
