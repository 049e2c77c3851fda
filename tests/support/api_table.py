"""`make api-table`: the operations of the API's reference, how each answered in the tests, and which tests called it."""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from documented import Documented, operations

_HEAD = """# The operations of the API

`make api-table` draws this page: the {all} operations that the reference of the block-storage API v3 documents, the statuses
with which the service answered them in `tests/api` and in two files of `tests/integration`, whose drivers can replicate, and
the tests whose requests succeeded (or, where there is none, those that requested it). The service writes the calls down
where they arrive (`tests/support/recording.py`), so that a test that calls nothing is not here.
{served} of {all} succeeded in a test: {marks}.

| operation | since | use | documented | answered | tests |
|---|---|---|---|---|---|"""
# Tests named for an operation; the others are counted.
_NAMED = 2


def _lines(folder: Path) -> Iterator[tuple[str, int, str]]:
    for path in sorted(folder.rglob("*.jsonl")):
        for line in path.read_text().splitlines():
            name, status, test = json.loads(line)
            if test:
                yield name, int(status), test.partition("[")[0].removeprefix("tests/api/").removeprefix("tests/")


def _row(each: Documented, calls: dict[int, set[str]]) -> str:
    documented = ", ".join(str(status) for status in (each.ok, *each.errors))
    tests = sorted(calls.get(each.ok) or {name for found in calls.values() for name in found})
    more = f" and {len(tests) - _NAMED} more" if len(tests) > _NAMED else ""
    named = ", ".join(f"`{test}`" for test in tests[:_NAMED]) + more
    answered = ", ".join(str(status) for status in sorted(calls)) or "-"
    since = f"{each.since[0]}.{each.since[1]}"
    return f"| `{each}` | {since} | {each.mark} | {documented} | {answered} | {named or '-'} |"


def main(folder: Path) -> None:
    calls: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, status, test in _lines(folder):
        calls[name][status].add(test)
    done = [each for each in operations() if any(status < 400 for status in calls[str(each)])]
    marks = ", ".join(
        f"{sum(each.mark == mark for each in done)} of {sum(each.mark == mark for each in operations())} {mark}"
        for mark in ("core", "common", "rare")
    )
    print(_HEAD.format(all=len(operations()), served=len(done), marks=marks))
    for each in operations():
        print(_row(each, calls[str(each)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
