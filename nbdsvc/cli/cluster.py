"""`nbdsvc cluster`"""

from typing import Any

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client

_COLUMNS = ("name", "binary", "state", "status", "num_hosts", "num_down_hosts", "disabled_reason", "last_heartbeat")


@click.group()
def cluster() -> None:
    """List clusters, which are backends that several hosts serve as one storage; disable them."""


@cluster.command("list")
@click.option("--down", is_flag=True, help="Only those of which no host is up.")
@show.json_option
def list_clusters(down: bool, as_json: bool) -> None:
    """List the clusters."""
    wanted = {"is_up": "false"} if down else {}
    show.rows(Client().get("clusters", "detail", **wanted)["clusters"], _COLUMNS, as_json)


@cluster.command("show")
@click.argument("name", metavar="CLUSTER@BACKEND")
@show.json_option
def show_cluster(name: str, as_json: bool) -> None:
    """Show a cluster, and the hosts of its storage."""
    client = Client()
    found = client.get("clusters", name)["cluster"]
    services = client.get("os-services")["services"]
    hosts = [f"{each['host'].partition('@')[0]} ({each['state']})" for each in services if each["cluster"] == name]
    show.one({**found, "hosts": ", ".join(sorted(hosts))}, as_json)


@cluster.command()
@click.argument("name", metavar="CLUSTER@BACKEND")
def enable(name: str) -> None:
    """Let the hosts of a cluster take new volumes again."""
    _put("enable", name=name)


@cluster.command()
@click.argument("name", metavar="CLUSTER@BACKEND")
@click.option("--reason", help="Why, for the list.")
def disable(name: str, reason: str | None) -> None:
    """Place no new volumes on any host of a cluster."""
    _put("disable", name=name, **({} if reason is None else {"disabled_reason": reason}))


def _put(verb: str, **fields: str) -> Any:
    return Client().put("clusters", verb, body=fields)
