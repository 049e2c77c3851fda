"""`nbdsvc qos`"""

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client
from nbdsvc.cli.pairs import pairs

_COLUMNS = ("id", "name", "consumer", "specs")
_CONSUMERS = click.Choice(["front-end", "back-end", "both"])


@click.group()
def qos() -> None:
    """Create, change, list and delete QoS specs, and give them to volume types. For administrators."""


@qos.command("list")
@show.json_option
def list_specs(as_json: bool) -> None:
    """List QoS specs."""
    show.rows(Client().get("qos-specs")["qos_specs"], _COLUMNS, as_json)


@qos.command("show")
@click.argument("specs")
@show.json_option
def show_specs(specs: str, as_json: bool) -> None:
    """Show one QoS specs with the volume types that have it."""
    client = Client()
    found = client.find("qos-specs", specs)
    types = client.get("qos-specs", found["id"], "associations")["qos_associations"]
    show.one({**found, "volume_types": [each["name"] for each in types]}, as_json)


@qos.command()
@click.argument("name")
@click.argument("specs", nargs=-1, metavar="KEY=VALUE...")
@click.option("--consumer", type=_CONSUMERS, default="back-end", show_default=True, help="Who enforces them.")
@show.json_option
def create(name: str, specs: tuple[str, ...], consumer: str, as_json: bool) -> None:
    """Create QoS specs."""
    body = {"name": name, "consumer": consumer, **pairs("KEY=VALUE", specs)}
    show.one(Client().post("qos-specs", body={"qos_specs": body})["qos_specs"], as_json)


@qos.command("set")
@click.argument("name", metavar="SPECS")
@click.argument("specs", nargs=-1, required=True, metavar="KEY=VALUE...")
@show.json_option
def set_keys(name: str, specs: tuple[str, ...], as_json: bool) -> None:
    """Set keys of SPECS."""
    client, wanted = Client(), pairs("KEY=VALUE", specs)
    id = client.find("qos-specs", name)["id"]
    client.put("qos-specs", id, body={"qos_specs": wanted})
    show.one(client.find("qos-specs", id), as_json)


@qos.command("unset")
@click.argument("name", metavar="SPECS")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@show.json_option
def unset(name: str, keys: tuple[str, ...], as_json: bool) -> None:
    """Remove keys of SPECS."""
    client = Client()
    id = client.find("qos-specs", name)["id"]
    client.put("qos-specs", id, "delete_keys", body={"keys": list(keys)})
    show.one(client.find("qos-specs", id), as_json)


@qos.command()
@click.argument("name", metavar="SPECS")
@click.argument("type", metavar="TYPE")
def associate(name: str, type: str) -> None:
    """Give SPECS to the volume type TYPE."""
    _associate(name, type, "associate")


@qos.command()
@click.argument("name", metavar="SPECS")
@click.argument("type", metavar="TYPE")
def disassociate(name: str, type: str) -> None:
    """Take SPECS from the volume type TYPE."""
    _associate(name, type, "disassociate")


@qos.command()
@click.argument("names", nargs=-1, required=True, metavar="SPECS...")
@click.option("--force", is_flag=True, help="Also where volume types have them.")
def delete(names: tuple[str, ...], force: bool) -> None:
    """Delete QoS specs."""
    client = Client()
    for name in names:
        client.delete("qos-specs", client.find("qos-specs", name)["id"], force="true" if force else None)


def _associate(name: str, type: str, verb: str) -> None:
    client = Client()
    ids = client.find("qos-specs", name)["id"], client.find("types", type)["id"]
    client.get("qos-specs", ids[0], verb, vol_type_id=ids[1])
