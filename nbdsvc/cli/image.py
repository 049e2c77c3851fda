"""`nbdsvc image`"""

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client


@click.group()
def image() -> None:
    """List and delete the images that volumes may be made of."""


@image.command("list")
@show.json_option
def list_images(as_json: bool) -> None:
    """List the project's images, and those for everybody."""
    show.rows(Client().get("images")["images"], ("id", "name", "disk_format", "size", "visibility"), as_json)


@image.command()
@click.argument("image")
def delete(image: str) -> None:
    """Delete an image that the project has uploaded, by its id or name."""
    Client().delete("images", image)
