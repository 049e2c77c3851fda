"""`nbdsvc completion`"""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script: source <(nbdsvc completion bash)"""
    from nbdsvc.cli import cli

    kind = get_completion_class(shell)
    assert kind
    click.echo(kind(cli, {}, "nbdsvc", "_NBDSVC_COMPLETE").source())
