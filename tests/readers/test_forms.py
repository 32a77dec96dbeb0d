"""A run file is read by its suffix, whatever its letter case."""

import pytest

from roofline.readers.forms import EITHER, FORMS, form_of


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("run.yaml", "yaml"),
        ("a.b/run.YML", "yaml"),
        ("train.sbatch", "shell"),
        ("train.v2.sh", "shell"),
        ("settings.py", "python"),
        ("slurm-17.out", "dump"),
        ("llama-3.1-8b", None),
        ("gpt2-xl", None),
        ("", None),
    ],
)
def test_the_last_suffix_decides(name: str, form: str | None) -> None:
    assert form_of(name) == form


def test_what_a_model_may_have_as_well_is_among_the_forms() -> None:
    assert set(FORMS) >= EITHER
