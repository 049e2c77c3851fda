"""`nbdsvc show-config`"""

import json
from dataclasses import asdict
from pathlib import Path

import click

from nbdsvc import config


@click.command("show-config")
@click.option("--config", "file", type=click.Path(path_type=Path))
def show_config(file: Path | None) -> None:
    """Print the settings in force, as JSON. The database's password is not among what is printed."""
    settings = asdict(config.load(file))
    if "://" in settings["database"]:
        import sqlalchemy

        settings["database"] = sqlalchemy.make_url(settings["database"]).render_as_string(hide_password=True)
    click.echo(json.dumps(settings, indent=1, default=str))
