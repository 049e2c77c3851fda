"""The operations that the API's reference documents (tests/api_operations.tsv), and which one a request is."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).parents[1] / "api_operations.tsv"
_PLACEHOLDER = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True)
class Documented:
    """An operation. `errors`: statuses of its errors, by the reference; `mark`: core, common or rare, by clients' calls."""

    group: str
    method: str
    path: str
    action: str
    since: tuple[int, int]
    ok: int
    errors: tuple[int, ...]
    mark: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.method, self.path, self.action)))

    @property
    def pattern(self) -> "re.Pattern[str]":
        """Of the path, without a query and without a project."""
        parts = _PLACEHOLDER.split(self.path.partition("?")[0])
        return re.compile("[^/]+".join(re.escape(part) for part in parts) + "/?")

    @property
    def literals(self) -> int:
        """Segments that are no placeholders: of two operations that a path fits, the one with more of them is meant."""
        return sum("{" not in part for part in self.path.split("/"))


@cache
def operations() -> tuple[Documented, ...]:
    lines = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
    return tuple(_operation(*("" if part == "-" else part for part in line.split("\t"))) for line in lines)


def _operation(*parts: str) -> Documented:
    group, method, path, action, since, ok, errors, mark = parts
    major, minor = since.split(".")
    known = tuple(int(each) for each in errors.split(",") if each)
    return Documented(group, method, path, action, (int(major), int(minor)), int(ok), known, mark)


def find(method: str, path: str, query: str = "", action: str = "") -> Documented | None:
    """The documented operation that a request is; None for one of ours."""
    found = [
        each
        for each in operations()
        if each.method == method
        and each.action in ("", action)
        and (path == each.path if each.path in ("/", "/v3/") else each.pattern.fullmatch(path))
        and ("?" not in each.path or "usage" in query)
    ]
    return max(found, key=lambda each: (each.literals, bool(each.action), "?" in each.path), default=None)
