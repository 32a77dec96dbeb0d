"""Modules, lines and functions of the package, as figures to compare over commits.

python scripts/maintain/measure_code.py [REVISION ...]    earlier ones, then the working tree
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def sources(revision: str | None) -> dict[str, str]:
    """The modules of the package, by path."""
    if revision is None:
        return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in ROOT.glob("roofline/**/*.py")}
    command = ["git", "archive", "--end-of-options", revision, "roofline"]
    found = subprocess.run(command, cwd=ROOT, check=False, capture_output=True)
    if found.returncode:
        raise SystemExit(f"{revision}: {found.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as tar:
        files = [(member.name, tar.extractfile(member)) for member in tar if member.name.endswith(".py")]
        return {name: file.read().decode() for name, file in files if file is not None}


def figures(files: dict[str, str]) -> dict[str, str]:
    """What the modules come to."""
    lines = {name: text.count("\n") for name, text in files.items()}
    functions = {
        f"{name}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name, text in files.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    largest, longest = max(lines, key=lines.__getitem__), max(functions, key=functions.__getitem__)
    return {
        "modules": str(len(files)),
        "lines": f"{sum(lines.values()):,}",
        "largest module": f"{lines[largest]} ({largest})",
        "modules over 300 lines": str(sum(count > 300 for count in lines.values())),
        "modules over 400 lines": str(sum(count > 400 for count in lines.values())),
        "functions": f"{len(functions):,}",
        "median function": f"{statistics.median(functions.values()):g} lines",
        "longest function": f"{functions[longest]} lines ({longest})",
    }


def main() -> None:
    """Print the figures of each revision asked for, then of the working tree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", metavar="REVISION", nargs="*", help="a commit, branch or tag")
    for revision in [*parser.parse_args().revisions, None]:
        print(revision or "working tree")
        for what, figure in figures(sources(revision)).items():
            print(f"  {what:<24}{figure}")


if __name__ == "__main__":
    main()
