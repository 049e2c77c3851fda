"""`nbdsvc host`: run this host's work, or what an operator does to a host."""

import time
from pathlib import Path
from typing import Any

import click

from nbdsvc import errors
from nbdsvc.cli import serve, show, termination
from nbdsvc.cli.client import Client

# Seconds between two looks at an evacuation, each of which asks for all of its volumes.
_LOOK_SECONDS = 2.0
_COLUMNS = ("id", "name", "size", "state", "destination", "progress", "reason", "advice")
_TAKEN = ("backend", "cluster", "by", "volumes", "attachments", "left")
_UNDER_WAY = ("moving", "waiting")


@click.group(invoke_without_command=True)
@serve.settings_options
@click.pass_context
def host(context: click.Context, /, file: Path | None, **overrides: Any) -> None:
    """Run this host's work only, next to the storage; with a command: what an operator does to a host."""
    if context.invoked_subcommand:
        termination.handle_signals()
    else:
        serve.run_host(file, overrides)


@host.command()
@click.argument("name", metavar="HOST")
@click.option("--wait", is_flag=True, help="Show the migrations until they have ended.")
@show.json_option
def evacuate(name: str, wait: bool, as_json: bool) -> None:
    """Migrate every volume away from HOST, a host or host@backend, which gets no new ones.

    It may be repeated: what is under way is left alone, and what failed is tried again. Exit status 0: all volumes are under
    way, or with --wait have left; 1: migrations failed; 4: volumes have to stay, for the reason that is shown.
    """
    client = Client()
    found = seen = _volumes(client, name, retry_failed=True)
    if wait:
        with show.live() as table:
            while any(each["state"] in _UNDER_WAY for each in found.values()):
                table(list(found.values()), _COLUMNS)
                time.sleep(_LOOK_SECONDS)
                found = _volumes(client, name, retry_failed=False)
                seen = {**seen, **found}
    show.rows(list(found.values()), _COLUMNS, as_json)
    _finish(found, len(seen) - len(found), as_json)


@host.command()
@click.argument("name", metavar="HOST")
@click.option("--fenced", is_flag=True, help="It is off, or cut off from its storage, and cannot write to a volume.")
@show.json_option
def lost(name: str, fenced: bool, as_json: bool) -> None:
    """Declare that HOST never returns: its operations and attachments end, and nothing waits for it any more."""
    found = Client().put("os-services", "lost", body={"host": name, "fenced": fenced})["lost"]
    show.one(found, as_json)


@host.command("take-over")
@click.argument("name", metavar="HOST")
@click.option("--by", metavar="OTHER", help="The host that takes over; without it, the one with the fewest volumes.")
@click.option("--fenced", is_flag=True, help="Declare HOST lost first: it is off, or cut off from its storage.")
@show.json_option
def take_over(name: str, by: str | None, fenced: bool, as_json: bool) -> None:
    """Let another host of its cluster serve the volumes of HOST, which is lost: they are on storage that both see."""
    body = {"host": name, "fenced": fenced, **({"by": by} if by else {})}
    show.rows(Client().put("os-services", "take-over", body=body)["taken_over"], _TAKEN, as_json)


@host.command("return")
@click.argument("name", metavar="HOST")
def let_return(name: str) -> None:
    """Let the next machine that starts as HOST, which was declared lost, be that host."""
    Client().put("os-services", "return", body={"host": name})


def _volumes(client: Client, name: str, **how: bool) -> dict[str, dict[str, Any]]:
    """What became of each volume, by id."""
    found: dict[str, dict[str, Any]] = {}
    marker = None
    while True:
        body = {"host": name, **how, **({"marker": marker} if marker else {})}
        answered = client.put("os-services", "evacuate", body=body)["evacuation"]
        for each in answered["volumes"]:
            found[each["id"]] = {**each, "progress": (each["operation"] or {}).get("progress")}
        marker = answered["next_marker"]
        if marker is None:
            return found


def _finish(found: dict[str, dict[str, Any]], left: int, as_json: bool) -> None:
    """The summary, and the error where volumes stay."""
    count = {state: sum(each["state"] == state for each in found.values())
             for state in ("moving", "waiting", "left-over", "failed", "refused")}  # fmt: skip
    summary = ", ".join([f"{left} left", *(f"{number} {state}" for state, number in count.items() if number)])
    if not as_json:
        click.echo(f"{summary}.")
    if count["failed"] or count["left-over"]:
        raise show.Failed(reason=f"the host is not empty: {summary}")
    if count["refused"]:
        raise errors.Conflict(reason=f"the host is not empty: {summary}")
