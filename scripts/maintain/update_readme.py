"""Run the examples of README.md and docs/*.md, put what they print below them, and draw the pictures that changed."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
PICTURES = {  # file in docs/images -> options of `roofline plot`
    "rooflines": "gpt2-xl -d h100-sxm-80gb -d a100-sxm-80gb --micro-batch 8",
    "waterfall": "llama-3-8b -d h100-sxm-80gb --num-devices 64 --tp 4 --pp 4 --global-batch 256"
    " --recompute selective --stack megatron --kind waterfall",
    "memory": "gpt2-xl -d a100-sxm-80gb --kind memory",
    "batch": "gpt2-xl -d a100-sxm-80gb --kind batch",
    "devices": "-d gb200 -d b200-sxm -d mi300x -d h100-sxm-80gb -d a100-sxm-80gb -d tpu-v5e -d rtx-4090 -d epyc-9654",
    "validation": "--kind validate",
}
# a fenced sh block that starts with a roofline command; what depends on the machine is fenced as console
EXAMPLE = re.compile(r"(?<=^```sh\n)\$ roofline .*?(?=^```$)", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (?:[^\n]*\\\n)*[^\n]*\n", re.MULTILINE)


def pages() -> list[Path]:
    """The Markdown files whose examples are run."""
    return [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()]


def run(command: str) -> str:
    """What a shell prints for `command`, in a folder that has the repository's files at hand."""
    with tempfile.TemporaryDirectory() as folder:
        for entry in ROOT.iterdir():
            if not entry.name.startswith(".") and entry.name not in {"roofline", "hardware"}:
                (Path(folder) / entry.name).symlink_to(entry)
        shell = f'roofline() {{ "{sys.executable}" -m roofline "$@"; }}\n{command}'
        sources = [str(ROOT)] if (ROOT / "roofline").is_dir() else []  # else the installed package
        environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
        paths = [*sources, os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        done = subprocess.run(
            ["bash", "-c", shell],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            encoding="utf-8",
        )
    return done.stdout


def examples(text: str) -> list[tuple[str, str]]:
    """Each command of each example block of a page, and the output shown for it."""
    found = []
    for block in EXAMPLE.findall(text):
        starts = [match.span() for match in COMMAND.finditer(block)]
        ends = [start for start, _ in starts[1:]] + [len(block)]
        for (start, after), end in zip(starts, ends, strict=True):
            found.append((block[start + 2 : after - 1], block[after:end]))
    return found


def updated(text: str) -> str:
    """The page with the output of every example as it is now."""

    def refresh(match: re.Match[str]) -> str:
        commands = [command for command, _ in examples(f"```sh\n{match[0]}```\n")]
        return "".join(f"$ {command}\n{run(command)}" for command in commands)

    return EXAMPLE.sub(refresh, text)


def words(picture: Path) -> str:
    """What stands in a PNG that `roofline plot` wrote; nothing where there is none."""
    from PIL import Image

    if not picture.exists():
        return ""
    with Image.open(picture) as image:
        return str(image.info.get("Description", ""))


def drawn(name: str) -> bytes:
    """A picture as it is now: the one of docs/images where the same words stand in both."""
    with tempfile.TemporaryDirectory() as folder:
        now, kept = Path(folder) / f"{name}.png", IMAGES / f"{name}.png"
        run(f"roofline plot {PICTURES[name]} --output {now}")
        return (kept if words(now) == words(kept) else now).read_bytes()


def main() -> int:
    """Update or check every page and every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which would change; exit status 1 if any")
    args = parser.parse_args()
    found = {page: updated(page.read_text(encoding="utf-8")).encode() for page in pages()}
    found |= {IMAGES / f"{name}.png": drawn(name) for name in PICTURES}
    stale = [path for path, content in found.items() if content != path.read_bytes()]
    for path in stale:
        print(path.relative_to(ROOT))
        if not args.check:
            path.write_bytes(found[path])
    return int(bool(stale) and args.check)


if __name__ == "__main__":
    sys.exit(main())
