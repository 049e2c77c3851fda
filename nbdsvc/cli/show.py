"""Output of verbs: tables for people, --json for programs, bars for long work."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from nbdsvc import errors, units

if TYPE_CHECKING:
    from rich.progress import Progress

    from nbdsvc.cli.client import Client

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


class Failed(errors.OperationError):
    """The service's own message."""


def rows(found: Sequence[dict[str, Any]], columns: Iterable[str], as_json: bool) -> None:
    """A table of some columns, or all as JSON."""
    if as_json:
        click.echo(json.dumps(list(found), indent=1))
        return
    for line in _lines(found, list(columns)):
        click.echo(line)


def _lines(found: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    cells = [[_text(row.get(name)) for name in names] for row in found]
    widths = [max(len(name), *(len(line[i]) for line in cells)) if cells else len(name) for i, name in enumerate(names)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [[name.upper().replace("_", " ") for name in names], *cells]
    ]


@contextlib.contextmanager
def live() -> Iterator[Callable[[Sequence[dict[str, Any]], Sequence[str]], None]]:
    """Shows a table on a terminal, anew at each call, and removes it at the end; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _found, _names: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), transient=True) as screen:
        yield lambda found, names: screen.update(Text("\n".join(_lines(found, names))), refresh=True)


def one(found: dict[str, Any], as_json: bool) -> None:
    """A thing, a field a line, or as JSON."""
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    shown = {key: value for key, value in found.items() if key not in ("links",) and value not in (None, {}, [])}
    width = max((len(key) for key in shown), default=0)
    for key, value in shown.items():
        click.echo(f"{key.ljust(width)}  {_text(value)}")


def follow(client: "Client", resource_id: str, quiet: bool) -> dict[str, Any]:
    """Wait for the newest operation on a resource, with a bar on a terminal. Raises its error."""
    operation = client.operation_of(resource_id)
    if quiet or not sys.stderr.isatty():
        operation = list(client.follow(operation["id"]))[-1]
    else:
        operation = _bar(client, operation)
    if operation["state"] != "succeeded":
        reason = (operation["error"] or {}).get("message", operation["state"])
        raise Failed(reason=f"{operation['kind']} {operation['state']}: {reason}")
    return operation


def progress() -> "Progress":
    """A bar on stderr, removed at the end: bytes done and in all, rate, time left."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _bar(client: "Client", operation: dict[str, Any]) -> dict[str, Any]:
    last = operation
    with progress() as bar:
        task = bar.add_task(operation["kind"], total=None)
        for last in client.follow(operation["id"]):
            state = last["progress"]
            bar.update(task, completed=state["done"], total=state["total"] or None)
    return last


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict) and {"done", "total", "rate"} <= set(value):
        return _how_far(value)
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def _how_far(progress: dict[str, Any]) -> str:
    total = progress["total"]
    if not total:
        return "-"
    text = f"{units.human(progress['done'])} of {units.human(total)} ({100 * progress['done'] // total} %)"
    if progress["rate"]:
        text += f", {units.human(progress['rate'])}/s, {progress['seconds_left']} s left"
    return text
