"""results/*.json as one page with charts: results/report.html. Nothing is fetched; the charts are inline SVG."""

import html
import json
from collections.abc import Callable
from typing import Any

from measure import RESULTS, load

WIDTH, BAR = 620, 18


def chart(title: str, rows: list[tuple[str, float, str]]) -> str:
    """Horizontal bars: label, value, text behind the bar."""
    most = max((value for _, value, _ in rows), default=1) or 1
    bars = "".join(
        f'<text x="190" y="{i * (BAR + 4) + 13}" text-anchor="end">{html.escape(label)}</text>'
        f'<rect x="196" y="{i * (BAR + 4)}" width="{value / most * (WIDTH - 330):.1f}" height="{BAR}" '
        f'fill="{"#2a6f97" if "ours" in label else "#a9b8c2"}"/>'
        f'<text x="{200 + value / most * (WIDTH - 330):.1f}" y="{i * (BAR + 4) + 13}">{html.escape(text)}</text>'
        for i, (label, value, text) in enumerate(rows)
    )
    return f'<h3>{html.escape(title)}</h3><svg width="{WIDTH}" height="{len(rows) * (BAR + 4)}">{bars}</svg>'


def grouped(table: dict[str, Any]) -> dict[str, list[tuple[str, Any]]]:
    cells: dict[str, list[tuple[str, Any]]] = {}
    for key, row in table.items():
        cell, _, who = key.partition(" / ")
        cells.setdefault(cell, []).append((who, row))
    return cells


def bars(name: str, bar: Callable[[Any], tuple[float, str]]) -> list[str]:
    """A chart for each cell of a table. bar: a row's value and the text behind it."""
    cells = grouped(load(name).get("table", {}))
    return [chart(cell, [(who, *bar(row)) for who, row in rows]) for cell, rows in cells.items()]


def serving() -> list[str]:
    def bar(row: Any) -> tuple[float, str]:
        text = f"{_median(row, 'iops', 0)}/s, {_median(row, 'cpu', 1)} us, {_median(row, 'ratio')}x"
        return row["iops"]["median"], text

    return bars("nbd", bar)


def durable_writes() -> list[str]:
    return [
        chart(
            cell, [(f"ours, {who}", row[who]["median"], f"{row[who]['median']:.0f}/s") for who in ("through", "back")]
        )
        for cell, row in load("durable").get("table", {}).items()
    ]


def copies() -> list[str]:
    def bar(row: Any) -> tuple[float, str]:
        return row["wall"]["median"], f"{_median(row, 'wall')} s, CPU {_median(row, 'cpu')} s, {_median(row, 'ratio')}x"

    again = "; ".join(f"{case}: {when}" for case, when in load("copy").get("again", {}).items())
    return [*bars("copy", bar), *([f"<p>Measured again since: {html.escape(again)}.</p>"] if again else [])]


def clones() -> list[str]:
    return bars("clone", lambda row: (row["median"], f"{row['median']:.2f} s"))


def initiators() -> list[str]:
    return [
        chart(f"{protocol}: attach {row['attach_seconds']:.1f} s, detach {row['detach_seconds']:.1f} s", [
            bar for name, cell in row["cells"].items() for bar in (
                (f"{name} ours", cell["iops"], f"{cell['iops']:.0f}/s, {cell['ratio']:.2f} of the LV"),
                (f"{name} LV", cell["lv_iops"], f"{cell['lv_iops']:.0f}/s"))])
        for protocol, row in load("rig").get("table", {}).items()
    ]  # fmt: skip


def whole_job() -> list[str]:
    job = load("job").get("table", {})
    rows = [(who, job[who]["median"], f"{job[who]['median']:.1f} s") for who in ("ours", "stand-in") if who in job]
    return [chart("median", rows)]


def service() -> list[str]:
    latencies = load("service").get("table_ms", {})
    return [
        chart(
            "latency, median",
            [(what, found["median"], f"{found['median']:.1f} ms") for what, found in latencies.items()],
        )
    ]


def _median(row: dict[str, Any], what: str, digits: int = 2) -> str:
    return f"{row[what]['median']:.{digits}f}"


CHAPTERS = [
    ("NBD serving", "Operations a second (more is better), server CPU an operation, ours / it.", serving),
    ("Writes answered from stable storage, over TCP", "Operations a second, with and without.", durable_writes),
    ("Image to volume", "Seconds (less is better), CPU seconds, how much faster we are.", copies),
    ("A raw copy within one XFS", "Seconds (less is better).", clones),
    ("Real initiators", "fio in a virtual machine: requests a second, and the share of the LV below.", initiators),
    ("The whole job, from POST to available", "Seconds (less is better).", whole_job),
    ("Service", "Milliseconds (less is better).", service),
]
STYLE = "body{font:14px sans-serif;margin:2em;max-width:60em}svg text{font-size:12px}"


def main() -> None:
    chapters = [f"<h2>{title}</h2><p>{note}</p>" + "\n".join(draw()) for title, note, draw in CHAPTERS]
    names = ("nbd", "durable", "copy", "clone", "job", "rig", "service")
    machine = html.escape(json.dumps({name: load(name).get("machine") for name in names}))
    title = "nbdsvc benchmarks"
    head = f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
    (RESULTS / "report.html").write_text(head + "\n".join(chapters) + f"<p>{machine}</p>\n")
    print(f"{RESULTS / 'report.html'}")


main()
