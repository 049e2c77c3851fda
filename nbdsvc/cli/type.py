"""`nbdsvc type`"""

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client
from nbdsvc.cli.pairs import pairs

_COLUMNS = ("id", "name", "is_public", "extra_specs", "description")


@click.group()
def type() -> None:
    """Create, change, list and delete volume types. All but list and show is for administrators."""


@type.command("list")
@show.json_option
def list_types(as_json: bool) -> None:
    """List the volume types that the project may use."""
    show.rows(Client().get("types")["volume_types"], _COLUMNS, as_json)


@type.command("show")
@click.argument("type", metavar="TYPE")
@show.json_option
def show_type(type: str, as_json: bool) -> None:
    """Show one volume type."""
    show.one(Client().find("types", type), as_json)


@type.command()
@click.argument("name")
@click.option("--spec", "specs", multiple=True, metavar="KEY=VALUE", help="An extra spec.")
@click.option("--description")
@click.option("--private", is_flag=True, help="Only for projects that get access.")
@show.json_option
def create(name: str, specs: tuple[str, ...], description: str | None, private: bool, as_json: bool) -> None:
    """Create a volume type."""
    body = {
        "name": name,
        "description": description,
        "os-volume-type-access:is_public": not private,
        "extra_specs": pairs("--spec", specs),
    }
    show.one(Client().post("types", body={"volume_type": body})["volume_type"], as_json)


@type.command("set")
@click.argument("type", metavar="TYPE")
@click.argument("specs", nargs=-1, required=True, metavar="KEY=VALUE...")
@show.json_option
def set_specs(type: str, specs: tuple[str, ...], as_json: bool) -> None:
    """Set extra specs of TYPE."""
    client, wanted = Client(), pairs("KEY=VALUE", specs)
    id = client.find("types", type)["id"]
    client.post("types", id, "extra_specs", body={"extra_specs": wanted})
    show.one(client.find("types", id), as_json)


@type.command("unset")
@click.argument("type", metavar="TYPE")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@show.json_option
def unset(type: str, keys: tuple[str, ...], as_json: bool) -> None:
    """Remove extra specs of TYPE."""
    client = Client()
    id = client.find("types", type)["id"]
    for key in keys:
        client.delete("types", id, "extra_specs", key)
    show.one(client.find("types", id), as_json)


@type.command()
@click.argument("type", metavar="TYPE")
@click.argument("project")
def allow(type: str, project: str) -> None:
    """Let PROJECT use the private TYPE."""
    _change_access(type, "addProjectAccess", project)


@type.command()
@click.argument("type", metavar="TYPE")
@click.argument("project")
def deny(type: str, project: str) -> None:
    """Let PROJECT no longer use the private TYPE."""
    _change_access(type, "removeProjectAccess", project)


@type.command()
@click.argument("types", nargs=-1, required=True, metavar="TYPE...")
def delete(types: tuple[str, ...]) -> None:
    """Delete volume types that no volume has."""
    client = Client()
    for name in types:
        client.delete("types", client.find("types", name)["id"])


def _change_access(type: str, action: str, project: str) -> None:
    client = Client()
    client.act("types", client.find("types", type)["id"], action, {"project": project})
