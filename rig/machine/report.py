"""A run as a page: each step beside the lines that each host logged at that time."""

import html
import time
from collections.abc import Mapping
from pathlib import Path

from rig.agent import Agent, HostFailed
from rig.machine.faults import FAULTS
from rig.machine.record import Record

# Texts of log lines that the report omits.
_NOISE = ("systemd[1]: Started Session", "sshd[", "audit:", "pam_unix")
_LINES = 4000
Line = tuple[float, str]


def logs(agents: Mapping[str, Agent]) -> dict[str, list[Line]]:
    """(Unix time by the rig's clock, text) of each host's journal since its boot; of a host that is away, a note."""
    return {name: _log(agent) for name, agent in agents.items()}


def _log(agent: Agent) -> list[Line]:
    try:
        offset = time.time() - float(agent.shell("date +%s.%N"))
        text = agent.run("journalctl", "-b", "-o", "short-unix", "-n", str(_LINES), "--no-pager", check=False).out
    except HostFailed as error:
        return [(time.time(), f"no log: {error}")]
    found = []
    for line in text.splitlines():
        stamp, _, rest = line.partition(" ")
        if stamp.replace(".", "").isdigit() and not any(noise in line for noise in _NOISE):
            found.append((float(stamp) + offset, rest.partition(" ")[2]))
    return found


def write(path: Path, record: Record, said: Mapping[str, list[Line]]) -> None:
    """Write the page. said: by host, the lines of its journal. OSError where it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_page(record, said))


def _page(record: Record, said: Mapping[str, list[Line]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in said)
    verdict = html.escape(record.violation) or "nothing was wrong"
    return (f"<!doctype html><meta charset=utf-8><title>rig: seed {record.seed}</title><style>{_STYLE}</style>"
            f"<h1>Seed {record.seed}: {len(record.steps)} steps</h1>"
            f"<p class='{'bad' if record.violation else 'good'}'>{verdict}</p><table><tr><th>time</th><th>action</th>"
            f"<th>what happened</th>{head}</tr>{_rows(record, said)}</table>\n")  # fmt: skip


def _rows(record: Record, said: Mapping[str, list[Line]]) -> str:
    rows = []
    for step in record.steps:
        if step.outcome == "skipped":
            continue
        kind = "bad" if step.wrong else "fault" if step.action["do"] in FAULTS else ""
        numbers = " ".join(f"{key}={value}" for key, value in step.action.items() if key != "do")
        cells = "".join(f"<td>{_during(lines, step.began, step.seconds)}</td>" for lines in said.values())
        when = time.strftime("%H:%M:%S", time.gmtime(step.began))
        rows.append(f"<tr class='{kind}'><td>{when}<br>{step.seconds:.1f} s</td>"
                    f"<td><b>{html.escape(step.action['do'])}</b><br>{numbers}</td>"
                    f"<td>{html.escape(step.outcome)}</td>{cells}</tr>")  # fmt: skip
    return "\n".join(rows)


def _during(lines: list[Line], began: float, seconds: float) -> str:
    """A host's log lines during a step: a few visible, the others in a part to unfold."""
    found = [html.escape(text) for stamp, text in lines if began <= stamp < began + seconds]
    if len(found) <= 3:
        return "<br>".join(found)
    return f"<details><summary>{len(found)} lines: {found[-1]}</summary>{'<br>'.join(found)}</details>"


_STYLE = """
body { font: 13px/1.4 system-ui, sans-serif; margin: 1.5em } table { border-collapse: collapse; width: 100% }
td, th { border-bottom: 1px solid #ddd; padding: .3em .6em; text-align: left; vertical-align: top; max-width: 28em;
overflow-wrap: anywhere } td:nth-child(n+4) { font: 11px/1.35 ui-monospace, monospace; color: #444 }
th { position: sticky; top: 0; background: #fff } tr.fault { background: #fff4e0 } tr.bad, p.bad { background: #ffd9d9 }
p.good { background: #e2f5e2 } p { padding: .5em }
"""
