"""Sources that can be followed: document, revision, place, address and the day somebody looked."""

import datetime as dt

import pytest

from roofline.hardware import boards, load_device
from roofline.hardware.check.rules import figure_problems, named_sources
from roofline.hardware.sections import Citation
from roofline.hardware.sources import documents, missing, text_of_source

CITED = Citation(document="ada-whitepaper", place="appendix A, table 2")


def test_documents_have_an_address_and_a_day_or_neither() -> None:
    for key, document in documents().items():
        assert document.title, key
        if document.url:
            assert document.url.startswith("https://"), key
        if document.seen:
            assert document.url, key
            assert document.revision, key
            dt.date.fromisoformat(document.seen)


def test_every_document_is_cited() -> None:
    from roofline.hardware import all_devices

    cited = {
        source.document
        for device in all_devices()
        for source in device.sources.values()
        if isinstance(source, Citation)
    }
    assert cited <= set(documents()), "cited, and not in the table"


def test_a_citation_is_printed_in_full() -> None:
    text = text_of_source(CITED)
    assert text.startswith("NVIDIA Ada GPU architecture, v2.1, 2023; appendix A, table 2; https://")
    assert text.endswith("; seen 2026-11-28")
    assert text_of_source("assumes a server of 8 cards") == "assumes a server of 8 cards"
    own = Citation(document="our sheet", place="page 2", revision="2026", url="https://example.org", seen="2026-01-02")
    assert text_of_source(own) == "our sheet, 2026; page 2; https://example.org; seen 2026-01-02"


def test_what_a_reader_lacks_is_named() -> None:
    assert missing(CITED) == []
    assert missing("NVIDIA datasheet") == ["document", "place", "revision", "url", "seen"]
    assert missing(Citation(document="our sheet", place="page 2")) == ["revision", "url", "seen"]
    assert missing(Citation(document="hmc-tech", place="a row")) == ["revision", "seen"], "quoted, not opened"


def test_the_rule_asks_for_it_where_confidence_is_high() -> None:
    import msgspec

    device = load_device("rtx-4090")
    assert list(figure_problems(device)) == []
    vague = msgspec.structs.replace(device, sources={**device.sources, "vendor": "NVIDIA datasheet"})
    (problem,) = figure_problems(vague)
    assert problem.key == "sources.vendor"
    assert "place, revision, url, seen missing; add that, or say confidence medium" in problem.rule
    assert list(figure_problems(msgspec.structs.replace(vague, confidence="medium"))) == []


@pytest.mark.parametrize("device_id", ["h100-sxm-80gb", "a100-sxm-80gb", "rtx-4090", "tpu-v5p", "mi300x", "rtx-4080"])
def test_figures_of_high_confidence_can_be_looked_up(device_id: str) -> None:
    device = load_device(device_id)
    assert device.confidence == "high"
    followed = [device.sources.get(source, source) for _, source in named_sources(device)]
    assert sum(isinstance(source, Citation) for source in followed) >= 3
    assert device_id in boards.rows() or len(device.peak) > 1
