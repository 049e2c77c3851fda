"""KEY=VALUE on the command line."""

from collections.abc import Sequence

import click


def pairs(name: str, texts: Sequence[str]) -> dict[str, str]:
    """The pairs by key. name: of the option or argument, for the UsageError of a text that is no pair, or a key twice."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key or key in found:
            why = "the key is there already" if equals and key in found else "write KEY=VALUE"
            raise click.UsageError(f"{name} {text}: {why}")
        found[key] = value
    return found
