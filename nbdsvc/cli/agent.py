"""`nbdsvc agent`: keeps this host's NBD devices connected. `nbdsvc attach` starts it; it ends with the last device."""

from pathlib import Path

import click

from nbdsvc.connectors.host import FOLDER


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, help="Where attached volumes are recorded.")
def agent(folder: Path) -> None:
    """Give NBD devices of this host new connections when theirs die, until none is left."""
    from nbdsvc.connectors.nbd_watch import Watch

    Watch(folder).run()
