"""Draws docs/states.md from the tables of nbdsvc/model/states.py; `--check` only says whether the page is up to date."""

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from nbdsvc.model import states  # noqa: E402  (the path comes first)

PAGE = ROOT / "docs/states.md"
HEAD = """# Statuses and transitions

Drawn from the tables of `nbdsvc/model/states.py` by `.ci/states_page.py`; do not edit by hand.

A transition is taken by compare-and-swap: the row changes only if its status is one of those in the column *from*.
*During* is the status while an operation works; the operation's end, or the recovery after a crash, always leaves it.
`previous` is the status that the row had before, or the one that its attachments call for. A verb that nothing calls
yet belongs to a later room.
"""


def ident(status: str) -> str:
    """Mermaid's names know no hyphens."""
    return status.replace("-", "_").replace(" ", "_")


def shown(status: str | None, none: str) -> str:
    return none if status is None else f"`{status}`"


def table(transitions: dict[str, states.Transition]) -> Iterator[str]:
    yield "| verb | from | during | then | on failure |"
    yield "| --- | --- | --- | --- | --- |"
    for verb, change in transitions.items():
        sources = ", ".join(f"`{source}`" for source in change.allowed())
        if change.allowed() == [states.NEW]:
            sources = "(new)"
        then = shown(change.done, "(row removed)")
        yield f"| {verb} | {sources} | {shown(change.during, '(at once)')} | {then} | {shown(change.failed, '(unchanged)')} |"


def ends(change: states.Transition, source: str) -> Iterator[tuple[str, str]]:
    """(status, why) that `change` can lead to from `source`; what goes back to where it came from draws no arrow."""
    for end, why in ((change.done, change.verb), (change.failed, f"{change.verb} failed")):
        if end == states.PREVIOUS:
            for rest in ("available", "in-use"):
                if rest != source and source not in ("available", "in-use"):
                    yield rest, why
        elif end is not None:
            yield end, why


def arrows(transitions: dict[str, states.Transition]) -> Iterator[tuple[str, str, str]]:
    for change in transitions.values():
        # Forced transitions start nearly everywhere, and would hide the others.
        if change.verb.startswith("force"):
            continue
        for source in change.allowed():
            start = "[*]" if source == states.NEW else ident(source)
            middle = start if change.during is None else ident(change.during)
            if change.during is not None:
                yield start, middle, change.verb
            for end, why in ends(change, source):
                if not (why.endswith("failed") and change.during is None):
                    yield middle, ident(end), why
            if change.done is None and change.during is not None:
                yield middle, "[*]", change.verb


def picture(transitions: dict[str, states.Transition]) -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    labels: dict[tuple[str, str], list[str]] = {}
    for start, end, why in arrows(transitions):
        if why not in labels.setdefault((start, end), []):
            labels[start, end].append(why)
    for (start, end), why in labels.items():
        if start != end:
            yield f"    {start} --> {end}: {', '.join(why)}"
    yield "```"


def listing(name: str, statuses: frozenset[str]) -> str:
    return f"{name}: " + ", ".join(f"`{status}`" for status in sorted(statuses)) + ".\n"


def page() -> str:
    lines = [HEAD]
    for title, transitions, flying, waiting in (
        ("Volume", states.VOLUME, states.VOLUME_IN_FLIGHT, states.VOLUME_WAITING),
        ("Snapshot", states.SNAPSHOT, states.SNAPSHOT_IN_FLIGHT, frozenset[str]()),
        ("Attachment", states.ATTACHMENT, states.ATTACHMENT_IN_FLIGHT, states.ATTACHMENT_WAITING),
    ):
        lines += [f"\n## {title}\n", *picture(transitions), "", *table(transitions), ""]
        lines.append(listing("In flight (an operation owns the row)", flying))
        if waiting:
            lines.append(listing("Waiting (a client owns the row, until its next call)", waiting))
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    wanted = page()
    if "--check" not in sys.argv:
        PAGE.write_text(wanted)
        return 0
    if not PAGE.exists() or PAGE.read_text() != wanted:
        print(f"{PAGE.relative_to(ROOT)} is out of date: run python3 .ci/states_page.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
