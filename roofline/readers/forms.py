"""Which files may be run files, by their suffix."""

from __future__ import annotations

FORMS = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".toml": "toml",
    ".sh": "shell",
    ".bash": "shell",
    ".slurm": "shell",
    ".sbatch": "shell",
    ".conf": "shell",
    ".py": "python",
    ".log": "dump",
    ".txt": "dump",
    ".out": "dump",
}
EITHER = frozenset({".json", ".toml"})  # a model's own files have these as well: the keys decide


def form_of(name: str) -> str | None:
    """How a file is read, by its suffix; None where it is none of ours.

    >>> form_of("train/run.YAML"), form_of("llama-3.1-8b")
    ('yaml', None)
    """
    dot = name.rfind(".")
    return FORMS.get(name[dot:].lower()) if dot >= 0 else None
