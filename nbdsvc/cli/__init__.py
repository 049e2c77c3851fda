"""The command line: one verb a file, each loaded only when it is used, so that `nbdsvc --help` starts at once."""

import importlib
import signal
import sys
from typing import Any

import click

from nbdsvc.cli import termination
from nbdsvc.cli.termination import exit_status

__all__ = ["cli", "exit_status", "main"]

# verb -> (module, one line for the help page, so that no module is loaded to print it)
VERBS = {
    "serve": ("serve", "Run the API and this host's work in one process."),
    "api": ("serve", "Run the API only."),
    "host": ("host", "Run this host's work only; evacuate a host, declare one lost, take its volumes over."),
    "rebuild": ("rebuild", "Make new rows for the volumes of a pool whose database is lost."),
    "volume": ("volume", "Create, list, show, extend, upload and delete volumes."),
    "snapshot": ("snapshot", "Create, list, show and delete snapshots."),
    "group": ("group", "Create, change, snapshot, copy and delete groups of volumes."),
    "backup": ("backup", "Back up volumes, restore, verify and delete backups."),
    "type": ("type", "Create, change, list and delete volume types."),
    "qos": ("qos", "Create, change, list and delete QoS specs, and give them to volume types."),
    "quota": ("quota", "Show and set what a project may have."),
    "transfer": ("transfer", "Offer a volume to another project, and accept one."),
    "attachment": ("attachment", "List, show and delete attachments, also of other hosts."),
    "message": ("message", "List why requests failed after their replies."),
    "image": ("image", "List and delete the images that volumes may be made of."),
    "attach": ("attach", "Attach a volume to this host as a block device."),
    "detach": ("attach", "Detach a volume from this host."),
    "agent": ("agent", "Keep this host's NBD devices connected; attach starts it."),
    "operation": ("operation", "List, show, follow and cancel operations."),
    "explain": ("explain", "Say what differs in a volume, a backend or everything, and mend what is safe."),
    "service": ("service", "List, disable, freeze and thaw backends; set log levels."),
    "cluster": ("cluster", "List and disable backends that several hosts serve as one storage."),
    "explain-placement": ("explain_placement", "Show where a new volume would go, and why not elsewhere."),
    "migrate": ("migrate", "Move a volume to another pool."),
    "retype": ("retype", "Give a volume another type, where it is or by moving it."),
    "verify": ("verify", "Read a volume and prove that it holds what it was filled with."),
    "copy": ("copy", "Copy a disk or an image: files, devices, NBD, http; no service needed."),
    "show-config": ("show_config", "Print the settings in force."),
    "demo": ("demo", "Show the main job from end to end on this machine."),
    "completion": ("completion", "Print the shell completion script."),
}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module = importlib.import_module(f"nbdsvc.cli.{VERBS[name][0]}")
        command: click.Command = getattr(module, name.replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # caught here, because click would turn it into an ordinary failure
            raise termination.Signalled(signal.SIGPIPE) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


# These verbs have signal handlers of their own.
_SERVING = ("serve", "api", "host", "agent")


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nbdsvc")
def cli() -> None:
    """Block volumes for hypervisor hosts."""


def main() -> None:
    """Exit status: 0 done, 1 it failed, 2 wrong usage, 3 not found, 4 refused (state, quota, conflict), 5 no answer,
    70 a bug, 128 + n: ended by signal n."""
    try:
        if sys.argv[1:2] not in [[verb] for verb in _SERVING]:
            termination.handle_signals()
        status = cli.main(prog_name="nbdsvc", standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        status = termination.status_of(error)
    except termination.Signalled as error:
        termination.leave(termination.status_of(error))
    sys.exit(status if isinstance(status, int) else 0)
