"""`nbdsvc image`"""

import click

from nbdsvc.cli import show
from nbdsvc.cli.client import Client


@click.group()
def image() -> None:
    """List, import, share and delete the images that volumes may be made of."""


@image.command("list")
@show.json_option
def list_images(as_json: bool) -> None:
    """List the project's images, those shared with it, and those for everybody."""
    show.rows(Client().get("images")["images"], ("id", "name", "disk_format", "size", "visibility"), as_json)


@image.command("show")
@click.argument("image")
@show.json_option
def show_image(image: str, as_json: bool) -> None:
    """Show an image, by its id or name."""
    show.one(Client().get("images", image)["image"], as_json)


@image.command("import")
@click.argument("reference")
@click.option("--name", required=True, help="Its name.")
@click.option("--format", "disk_format", type=click.Choice(["raw", "qcow2"]), default="raw", show_default=True)
@click.option("--protected", is_flag=True, help="It cannot be deleted until its protection ends.")
@click.option("--wait/--no-wait", default=True, help="Return when it is whole.")
@show.json_option
def import_image(reference: str, name: str, disk_format: str, protected: bool, wait: bool, as_json: bool) -> None:
    """Copy an image into the image folder as the project's own: from a URL, a path that is allowed, or another image."""
    client = Client()
    body = {"imageRef": reference, "name": name, "disk_format": disk_format, "protected": protected}
    made = client.post("images", body={"image": body})["image"]
    if not wait:
        show.one(made, as_json)
        return
    show.follow(client, made["id"], as_json)
    show.one(client.get("images", made["id"])["image"], as_json)


@image.command("set")
@click.argument("image")
@click.option("--name", help="Its new name.")
@click.option("--private", "visibility", flag_value="private", help="For its own project.")
@click.option("--shared", "visibility", flag_value="shared", help="Also for its members.")
@click.option("--community", "visibility", flag_value="community", help="For all who know its id.")
@click.option("--public", "visibility", flag_value="public", help="For all projects; by an administrator.")
@click.option("--protected/--unprotected", default=None, help="Whether it can be deleted.")
@click.option("--member", "members", multiple=True, metavar="PROJECT", help="A project that may use it while it is shared; "
              "repeat it for all of them.")  # fmt: skip
@click.option("--no-members", is_flag=True, help="None any more.")
@show.json_option
def set_image(
    image: str,
    name: str | None,
    visibility: str | None,
    protected: bool | None,
    members: tuple[str, ...],
    no_members: bool,
    as_json: bool,
) -> None:
    """Change the name, visibility, protection and members of an image of the project."""
    if members and no_members:
        raise click.UsageError("--member and --no-members exclude each other")
    given = {"name": name, "visibility": visibility, "protected": protected}
    changes: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    if members or no_members:
        changes["members"] = list(members)
    if not changes:
        raise click.UsageError("there is nothing to change")
    show.one(Client().put("images", image, body={"image": changes})["image"], as_json)


@image.group()
def cache() -> None:
    """The copies of images that the pools keep, of which further volumes are cloned. For administrators."""


@cache.command("list")
@show.json_option
def list_cached(as_json: bool) -> None:
    """List the cached images, the one that was not used for the longest time first."""
    columns = ("id", "name", "image", "status", "size", "host", "uses", "last_used")
    show.rows(Client().get("image-cache")["cached_images"], columns, as_json)


@cache.command()
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every one that is not being made or removed.")
def evict(ids: tuple[str, ...], everything: bool) -> None:
    """Remove cached images; volumes that were made of them stay as they are."""
    if bool(ids) == everything:
        raise click.UsageError("name cached images by their ids, or use --all")
    client = Client()
    removable = ("available", "error", "error_deleting")
    listed = client.get("image-cache")["cached_images"] if everything else []
    for id in (*ids, *(each["id"] for each in listed if each["status"] in removable)):
        client.delete("image-cache", id)


@image.command()
@click.argument("image")
def delete(image: str) -> None:
    """Delete an image that the project has uploaded, by its id or name."""
    Client().delete("images", image)
