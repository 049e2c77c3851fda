"""`nbdsvc operation`"""

from typing import Any

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client
from nbdsvc.cli.parameter_types import Count, Rate


@click.group()
def operation() -> None:
    """List, show, follow and cancel operations."""


@operation.command("list")
@click.option("--state")
@click.option("--limit", type=Count(1, 1000), default=20, show_default=True)
@show.json_option
def list_operations(state: str | None, limit: int, as_json: bool) -> None:
    """List operations, the newest first."""
    found = Client().get("operations", state=state, limit=limit)["operations"]
    for row in found:
        row["reason"] = _reason(row)
    show.rows(found, ("id", "kind", "state", "resource_id", "progress", "reason"), as_json)


def _reason(row: dict[str, Any]) -> str | None:
    failed = (row["error"] or {}).get("message")
    return f"{failed} It goes on by {row['continued_by']}." if row.get("continued_by") else failed or _skipped(row)


def _skipped(row: dict[str, Any]) -> str | None:
    """The changes that the end of the operation left out, because an administrator or a fault had changed the row before."""
    found = [
        f"{each['resource_type']} {each['resource_id']} was {each['status']} and did not become {each['wanted']}"
        for each in row["skipped"]
    ]
    return "; ".join(found) or None


@operation.command("show")
@click.argument("operation")
@show.json_option
def show_operation(operation: str, as_json: bool) -> None:
    """Show one operation."""
    show.one(Client().get("operations", operation)["operation"], as_json)


@operation.command()
@click.argument("operation")
@show.json_option
def follow(operation: str, as_json: bool) -> None:
    """Wait for an operation's end."""
    client = Client()
    resource = client.get("operations", operation)["operation"]["resource_id"]
    show.one(show.follow(client, resource, as_json), as_json)


@operation.command()
@click.argument("operation")
@click.argument("rate", type=Rate())
def limit(operation: str, rate: int) -> None:
    """Let an operation copy at most RATE bytes a second (200M, 1.5G) from now on; 0: as fast as it can."""
    Client().act("operations", operation, "limit", {"rate": rate})


@operation.command()
@click.argument("operation")
def cancel(operation: str) -> None:
    """Stop an operation and undo what it did."""
    Client().act("operations", operation, "cancel")
