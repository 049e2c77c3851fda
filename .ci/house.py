"""The house rules that no other tool checks: sizes, docstrings, words that may not stay, who may import what.

Not for style (ruff) and not for the arrows between the rooms of nbdsvc (import-linter, in pyproject.toml).
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Aim at 250 and 10; beyond these a reader has lost the beginning before the end.
MOST_LINES_OF_FILE = 400
MOST_LINES_OF_FUNCTION = 80
# In two halves, so that this file passes its own check.
BANNED = {
    "TO" + "DO": "finish it or leave it out",
    "FIX" + "ME": "repair it",
    "NotImplemented" + "Error": "no stubs: declare the capability instead",
    "mock." + "patch": "pass the thing in as an argument",
    "Magic" + "Mock": "use the simulator",
}
# The extension's only importers: everyone else gets its Python face.
NATIVE_IMPORTERS = {"nbdsvc/datapath/native.py", "nbdsvc/exports/plugin.py"}
OURS = {"nbdsvc", "drivers"}


def tracked(*suffixes: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    paths = [ROOT / name for name in listed]
    return [path for path in paths if path.suffix in suffixes and path.exists()]


def size_of_file(path: Path, text: str) -> Iterator[str]:
    count = text.count("\n")
    if count > MOST_LINES_OF_FILE:
        yield f"{path}: {count} lines, at most {MOST_LINES_OF_FILE}"


def banned_words(path: Path, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        for word, advice in BANNED.items():
            if re.search(rf"\b{re.escape(word)}\b", line):
                yield f"{path}:{number}: {word}: {advice}"


def python_functions(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MOST_LINES_OF_FUNCTION:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, at most {MOST_LINES_OF_FUNCTION}"


def docstrings(path: Path, tree: ast.Module) -> Iterator[str]:
    if tree.body and not ast.get_docstring(tree):
        yield f"{path}: no docstring that says what the module is for"
    if path.parts[0] != "tests":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node):
            yield f"{path}:{node.lineno}: {node.name} has no docstring: one sentence of specification"


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def imports(path: Path, tree: ast.Module) -> Iterator[str]:
    for line, name in imported(tree):
        if path.parts[0] in OURS and name.startswith("nbdsvc._native") and str(path) not in NATIVE_IMPORTERS:
            yield f"{path}:{line}: only {', '.join(sorted(NATIVE_IMPORTERS))} import nbdsvc._native"
        if path.parts[0] == "rig" and name.split(".")[0] in OURS:
            yield f"{path}:{line}: rig/ is an oracle and imports nothing of ours"
        if path.parts[0] in OURS and name.split(".")[0] in {"tests", "benchmarks", "rig"}:
            yield f"{path}:{line}: the product imports nothing of {name.split('.')[0]}/"


def c_functions(path: Path, text: str) -> Iterator[str]:
    """A function's body stands between a brace that opens a line and one that closes it, both in the first column."""
    opened = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("{"):
            opened = number
        elif line.startswith("}") and opened is not None:
            if number - opened + 1 > MOST_LINES_OF_FUNCTION:
                yield f"{path}:{opened}: a function of {number - opened + 1} lines, at most {MOST_LINES_OF_FUNCTION}"
            opened = None


def complaints() -> Iterator[str]:
    for full in tracked(".py", ".c", ".h", ".cdef"):
        path, text = full.relative_to(ROOT), full.read_text()
        yield from size_of_file(path, text)
        yield from banned_words(path, text)
        if full.suffix == ".py":
            tree = ast.parse(text, str(path))
            for rule in (python_functions, docstrings, imports):
                yield from rule(path, tree)
        else:
            yield from c_functions(path, text)


def main() -> int:
    found = list(complaints())
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
