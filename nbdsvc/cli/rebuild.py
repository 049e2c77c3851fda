"""`nbdsvc rebuild`: what is in the pool and has no row gets one, after the loss of a database."""

from pathlib import Path
from typing import Any

import click

from nbdsvc import config


@click.command()
@click.option("--project", required=True, help="Project that the volumes are given to.")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings instead of /etc/nbdsvc.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where everything is kept.")
def rebuild(project: str, file: Path | None, **overrides: Any) -> None:
    """Make rows for volumes, snapshots and running exports that have none. The service must be stopped.

    Names, types and metadata are not in the pool, so they are gone. Exports go on, and stay attached.
    """
    from nbdsvc.service import Service

    service = Service(config.load(file, **overrides))
    try:
        done = service.rebuild(project)
    finally:
        service.stop()
    for noun in ("volumes", "snapshots", "attachments"):
        for id in getattr(done, noun):
            click.echo(f"{noun.removesuffix('s')} {id}")
    for name, reason in done.left.items():
        click.echo(f"left alone: {name}: {reason}", err=True)
