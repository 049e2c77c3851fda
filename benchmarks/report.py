"""results/*.json as one page with charts: results/report.html. Nothing is fetched; the charts are inline SVG."""

import html
import json
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


def main() -> None:
    parts = ["<h2>NBD serving</h2><p>Operations a second (more is better), server CPU an operation, ours / it.</p>"]
    for cell, rows in grouped(load("nbd").get("table", {})).items():
        parts.append(chart(cell, [(who, row["iops"]["median"],
            f"{row['iops']['median']:.0f}/s, {row['cpu']['median']:.1f} us, {row['ratio']['median']:.2f}x") for who, row in rows]))  # fmt: skip
    parts.append("<h2>Writes answered from stable storage, over TCP</h2><p>Operations a second, with and without.</p>")
    for cell, row in load("durable").get("table", {}).items():
        parts.append(
            chart(
                cell,
                [(f"ours, {who}", row[who]["median"], f"{row[who]['median']:.0f}/s") for who in ("through", "back")],
            )
        )
    parts.append("<h2>Image to volume</h2><p>Seconds (less is better), CPU seconds, how much faster we are.</p>")
    for cell, rows in grouped(load("copy").get("table", {})).items():
        parts.append(chart(cell, [(who, row["wall"]["median"],
            f"{row['wall']['median']:.2f} s, CPU {row['cpu']['median']:.2f} s, {row['ratio']['median']:.2f}x") for who, row in rows]))  # fmt: skip
    parts.append("<h2>A raw copy within one XFS</h2><p>Seconds (less is better).</p>")
    for cell, rows in grouped(load("clone").get("table", {})).items():
        parts.append(chart(cell, [(who, row["median"], f"{row['median']:.2f} s") for who, row in rows]))
    parts.append(
        "<h2>Real initiators</h2><p>fio in a virtual machine: requests a second, and the share of the LV below.</p>"
    )
    for protocol, row in load("rig").get("table", {}).items():
        parts.append(chart(f"{protocol}: attach {row['attach_seconds']:.1f} s, detach {row['detach_seconds']:.1f} s", [
            bar for name, cell in row["cells"].items() for bar in (
                (f"{name} ours", cell["iops"], f"{cell['iops']:.0f}/s, {cell['ratio']:.2f} of the LV"),
                (f"{name} LV", cell["lv_iops"], f"{cell['lv_iops']:.0f}/s"))]))  # fmt: skip
    service = load("service")
    parts.append("<h2>The whole job, from POST to available</h2>")
    job = load("job").get("table", {})
    rows = [(who, job[who]["median"], f"{job[who]['median']:.1f} s") for who in ("ours", "stand-in") if who in job]
    parts.append(chart("seconds, median", rows))
    parts.append("<h2>Service</h2>")
    rows = [(what, found["median"], f"{found['median']:.1f} ms") for what, found in service.get("table_ms", {}).items()]
    parts.append(chart("latency, median", rows))
    machine = html.escape(
        json.dumps(
            {name: load(name).get("machine") for name in ("nbd", "durable", "copy", "clone", "job", "rig", "service")}
        )
    )
    style = "body{font:14px sans-serif;margin:2em;max-width:60em}svg text{font-size:12px}"
    page = f"<!doctype html><meta charset=utf-8><title>nbdsvc benchmarks</title><style>{style}</style><h1>nbdsvc benchmarks</h1>"
    (RESULTS / "report.html").write_text(page + "\n".join(parts) + f"<p>{machine}</p>\n")
    print(f"{RESULTS / 'report.html'}")


main()
