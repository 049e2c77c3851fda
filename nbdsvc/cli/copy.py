"""`nbdsvc copy`: moves a disk or an image, and proves that it arrived. Needs no service."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from nbdsvc import units
from nbdsvc.cli import copy_options, show
from nbdsvc.cli.parameter_types import Cores, Rate, Size
from nbdsvc.copytool.endpoints import Destination, DestinationOptions, OpenSource, open_destination, open_source
from nbdsvc.copytool.streams import is_standard_output
from nbdsvc.datapath import copy as datapath_copy
from nbdsvc.datapath.copy import CopyResult
from nbdsvc.datapath.digests import Digests
from nbdsvc.datapath.rate_limit import Limit, cores
from nbdsvc.images import references
from nbdsvc.images.checksum import Check, Checksum
from nbdsvc.images.inspection import ACCEPTED
from nbdsvc.images.spool import Spool

_SECTOR = 512
Report = Callable[[int, int, int], None]


class _Checksum(click.ParamType):  # type: ignore[type-arg]
    name = "checksum"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Checksum:
        try:
            return value if isinstance(value, Checksum) else Checksum.parse(value)
        except ValueError as error:
            self.fail(f"it {error}", param, ctx)


@click.command()
@click.argument("source")
@click.argument("destination")
@click.option("--source-format", type=click.Choice(ACCEPTED), help="Else: as the file's own bytes say.")
@click.option("--snapshot", help="An internal snapshot of a qcow2 source, by name or id.")
@click.option(
    "--format", type=click.Choice(["raw", "qcow2"]), help="Of a new file. Else: qcow2 if it is called so, or raw."
)
@click.option("--compress", type=click.Choice(["none", "zlib", "zstd"]), default="none", help="For qcow2.")
@click.option("--limit", type=Rate(), default=0, help="At most so many bytes a second: 200M, 1.5G.")
@click.option("--cores", type=Cores(), default=0.0, help="At most so much processor time: 0.5, 2.")
@click.option("--verify", is_flag=True, help="Read the destination again and compare digests.")
@click.option("--checksum", type=_Checksum(), help="What SOURCE's file must have: sha256:HEX or sha512:HEX.")
@click.option("--journal", type=click.Path(path_type=Path), help="Go on where a killed copy with this journal stopped.")
@click.option("--destination-is-zero", is_flag=True, help="A device or export that reads as zeros: write data only.")
@click.option(
    "--spool",
    type=Size(),
    default="64G",
    show_default=True,
    help="Room in TMPDIR for a source that is not read in place, such as a compressed qcow2. 0: none.",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@show.json_option
def copy(source: str, destination: str, as_json: bool, **options: Any) -> None:
    """Copy SOURCE to DESTINATION.

    Each is a path, a block device or an NBD URI (nbd://host/export, nbd+unix:///?socket=path); SOURCE may also be an
    http(s) URL, APPLIANCE.ova#DISK, - for standard input, or a pipe, and DESTINATION - for standard output, or a FIFO.
    Holes stay holes. A new file appears under its name when it is whole.
    """
    place = references.parse(destination, "DESTINATION")
    options["format"] = copy_options.format_of(place, options["format"])
    copy_options.check(references.parse(source, "SOURCE"), place, options)
    spool = Spool(None, options["spool"], "--spool")
    opened = open_source(source, options["source_format"], options["snapshot"], spool)
    with opened.source:
        copy_options.check_opened(opened, options)
        summary = _copy(opened, place, options, quiet=as_json)
    # Where standard output is the destination, nothing else may be written to it.
    click.echo(json.dumps(summary, indent=1) if as_json else _line(summary), err=is_standard_output(destination))


def _copy(opened: OpenSource, place: references.Reference, options: dict[str, Any], quiet: bool) -> dict[str, Any]:
    size, format = opened.source.size, options["format"]
    if format == "qcow2":
        size = -(-size // _SECTOR) * _SECTOR
    digests = Digests(size) if options["verify"] else None
    with open_destination(place, size, _destination_options(options), opened) as destination:
        with _bar("copying", quiet) as report, _check(opened, options["checksum"]) as check:
            result = datapath_copy.copy(
                opened.source,
                destination.sink,
                size=size,
                journal=destination.journal,
                fingerprint=destination.fingerprint,
                may_clone=True,
                digests=digests,
                limits=[Limit(options["limit"])] if options["limit"] else [],
                cpu=Limit(cores(options["cores"])) if options["cores"] else None,
                on_progress=report,
            )
            check.finish()
        if digests is not None:
            _verify(destination, format, digests, quiet)
        allocated = destination.allocated()
    return {
        "source": opened.source.name,
        "destination": destination.name,
        "source_format": opened.format,
        "format": format,
        **_figures(result),
        "allocated": allocated,
        "verified": digests is not None,
    }


def _destination_options(options: dict[str, Any]) -> DestinationOptions:
    names = ("format", "compress", "destination_is_zero", "force", "journal")
    return DestinationOptions(*(options[name] for name in names))


def _check(opened: OpenSource, expected: Checksum | None) -> Check:
    return Check(expected, opened.read or (lambda _at, _length: b""), opened.stored, opened.source.name)


def _verify(destination: Destination, format: str, digests: Digests, quiet: bool) -> None:
    with _bar("verifying", quiet) as report, destination.reopen(format) as written:
        written.cut(digests.size)
        digests.compare(datapath_copy.digest(written, digests.size, on_progress=report), destination.name)


def _figures(result: CopyResult) -> dict[str, Any]:
    moved = result.size - result.skipped - result.cloned
    return {
        "size": result.size,
        "data": result.data,
        "zero": moved - result.data,
        "shared": result.cloned,
        "found": result.skipped,
        "seconds": round(result.seconds, 3),
        "bytes_per_second": round(moved / result.seconds) if result.seconds else 0,
    }


def _line(summary: dict[str, Any]) -> str:
    parts = [f"{units.human(summary['data'])} data", f"{units.human(summary['zero'])} zero"]
    parts += [f"{units.human(summary['shared'])} shared with the source"] if summary["shared"] else []
    parts += [f"{units.human(summary['found'])} there already"] if summary["found"] else []
    parts += [f"{units.human(summary['allocated'])} allocated"] if summary["allocated"] is not None else []
    rate = units.human(summary["bytes_per_second"])
    return (
        f"{units.human(summary['size'])} in {summary['seconds']:.2f} s ({rate}/s): {', '.join(parts)}"
        f"{'; read back and found equal' if summary['verified'] else ''}"
    )


@contextmanager
def _bar(what: str, quiet: bool) -> Iterator[Report]:
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _total, _data: None
        return
    with show.progress() as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total, _data: bar.update(task, completed=done, total=total)
