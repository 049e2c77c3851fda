"""`nbdsvc message`"""

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client
from nbdsvc.cli.parameter_types import Count

_COLUMNS = ("created_at", "event_id", "resource_uuid", "user_message", "id")


@click.group()
def message() -> None:
    """List why requests failed after their replies."""


@message.command("list")
@click.option("--resource", help="Id of the volume, snapshot, backup or group.")
@click.option("--limit", type=Count(1, 1000), default=20, show_default=True)
@show.json_option
def list_messages(resource: str | None, limit: int, as_json: bool) -> None:
    """List messages, the newest first."""
    found = Client().get("messages", resource_uuid=resource, limit=limit)["messages"]
    show.rows(found, _COLUMNS, as_json)


@message.command("show")
@click.argument("message")
@show.json_option
def show_message(message: str, as_json: bool) -> None:
    """Show one message."""
    show.one(Client().get("messages", message)["message"], as_json)


@message.command()
@click.argument("messages", nargs=-1, required=True)
def delete(messages: tuple[str, ...]) -> None:
    """Delete messages."""
    client = Client()
    for id in messages:
        client.delete("messages", id)
