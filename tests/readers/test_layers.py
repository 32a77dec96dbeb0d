"""Run files over bases of their own: a job, what it extends, what it overrides."""

from pathlib import Path

import pytest

from roofline.errors import RooflineError
from roofline.readers.documents import load_documents
from roofline.readers.files import BASES
from roofline.readers.layers import layer

RUN = """
modules:
  pre_trainer:
    framework: megatron
    config: trainer.yaml
    overrides:
      micro_batch_size: 4
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / BASES / "modules" / "megatron"
    folder.mkdir(parents=True)
    (folder / "trainer.yaml").write_text("extends:\n  - common.yaml\nmicro_batch_size: 2\nseq_length: 2048\n")
    (folder / "common.yaml").write_text("seq_length: 512\nlr: 0.1\n")
    path = tmp_path / "run.yaml"
    path.write_text(RUN)
    return path


def test_overrides_lie_over_a_base_and_a_base_over_what_it_extends(run: Path) -> None:
    job = layer(load_documents(run)[0], "modules", {})
    assert job.backend == "megatron"
    assert job.values == {"micro_batch_size": 4, "seq_length": 2048, "lr": 0.1}
    assert job.of_bases == {"seq_length", "lr"}
    assert [Path(document.path).name for document in job.documents] == ["trainer.yaml", "common.yaml"]


def test_further_files_lie_over_all(run: Path) -> None:
    job = layer(load_documents(run)[0], "modules", {"seq_length": 1024})
    assert job.values["seq_length"] == 1024
    assert job.of_bases == {"lr"}


def test_bases_that_extend_one_another_in_a_circle(run: Path) -> None:
    (run.parent / BASES / "modules" / "megatron" / "common.yaml").write_text("extends: [trainer.yaml]\n")
    with pytest.raises(RooflineError, match="extend one another in a circle"):
        layer(load_documents(run)[0], "modules", {})


def test_a_base_that_is_not_there_and_a_file_without_a_job(run: Path) -> None:
    run.write_text(RUN.replace("trainer.yaml", "other.yaml"))
    with pytest.raises(RooflineError, match=r"extends 'other\.yaml', which is not beside it"):
        layer(load_documents(run)[0], "modules", {})
    with pytest.raises(RooflineError, match="nothing holds no job with a framework"):
        layer(load_documents(run)[0], "nothing", {})
