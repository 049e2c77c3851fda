"""What the command line refuses before anything happens: options that do not go together, and numbers without an end."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from images import MiB, qemu_img
from nbdkits import nbdkit

from nbdsvc import errors
from nbdsvc.cli import cli


def run(*words: str | Path) -> Any:
    return cli.main([*map(str, words)], standalone_mode=False)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "raw").write_bytes(os.urandom(MiB))
    return tmp_path / "raw"


def test_a_snapshot_that_is_not_there_is_refused(tmp_path: Path, raw: Path) -> None:
    """--snapshot of raw, of an export, of a foreign format, of a URL, and of a qcow2 without it: each names it."""
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, tmp_path / "q.qcow2")
    qemu_img("convert", "-f", "raw", "-O", "vdi", raw, tmp_path / "q.vdi")
    with nbdkit(tmp_path, "file", raw) as (uri, _):
        for source in (raw, uri, tmp_path / "q.vdi", "http://127.0.0.1:1/q.qcow2", tmp_path / "q.qcow2"):
            for name in ("nosuch", ""):
                with pytest.raises((errors.Unsupported, errors.BadImage), match=f"(--snapshot|called) {name}"):
                    run("copy", source, tmp_path / "out", "--snapshot", name)
    assert not (tmp_path / "out").exists()


def test_a_snapshot_of_two_meanings_is_refused(tmp_path: Path, raw: Path) -> None:
    """A name that is another snapshot's id, or that two have, is refused; the id of one alone is read."""
    image = tmp_path / "q.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, image)
    for name in ("2", "other", "twice", "twice"):
        qemu_img("snapshot", "-c", name, image)
    for name in ("2", "twice"):
        with pytest.raises(errors.BadImage, match="more than one"):
            run("copy", image, tmp_path / "out", "--snapshot", name)
    run("copy", image, tmp_path / "out", "--snapshot", "3")
    assert (tmp_path / "out").read_bytes() == raw.read_bytes()


@pytest.mark.parametrize(
    ("destination", "options", "named"),
    [
        ("out", ["--compress", "zstd"], "--compress"),
        ("out", ["--format", "qcow2", "--journal", "j"], "--journal"),
        ("out.qcow2", ["--journal", "j"], "--journal"),
        ("out", ["--destination-is-zero"], "--destination-is-zero"),
        ("EXPORT", ["--force"], "--force"),
        ("EXPORT", ["--format", "qcow2"], "--format"),
        ("EXPORT", ["--compress", "zlib"], "--compress"),
        ("-", ["--journal", "j"], "--journal"),
        ("-", ["--verify"], "--verify"),
    ],
)
def test_an_option_that_the_destination_cannot_honour(
    tmp_path: Path, raw: Path, destination: str, options: list[str], named: str
) -> None:
    """A file, a qcow2, an export or a stream with an option that means nothing for it: refused by its name."""
    options = [str(tmp_path / "j") if word == "j" else word for word in options]
    with nbdkit(tmp_path, "file", raw) as (uri, _):
        where = {"EXPORT": uri, "-": "-"}.get(destination) or str(tmp_path / destination)
        with pytest.raises(errors.InvalidInput, match=named):
            run("copy", raw, where, *options)
    assert {path.name for path in tmp_path.iterdir()} <= {"raw", "nbdkit-0.socket", "nbdkit-0.pid"}


def test_an_option_that_the_source_cannot_honour(tmp_path: Path, raw: Path) -> None:
    """An export has no file for --checksum, and is raw for --source-format."""
    with nbdkit(tmp_path, "file", raw) as (uri, _):
        for options, named in (
            (["--checksum", f"sha256:{'0' * 64}"], "--checksum"),
            (["--source-format", "qcow2"], "--source-f"),
        ):
            with pytest.raises(errors.RequestError, match=named):
                run("copy", uri, tmp_path / "out", *options)


# NaN, infinity, numbers out of range, digits of other scripts, and underscores.
ODD = [
    "nan",
    "inf",
    "-inf",
    "1e400",
    "99999999999999999999",
    "9" * 400,
    "1_0",
    "٣",
    "1²",
    "0x10",
    "",
    " ",
    "1 0",
    "½",
]


@pytest.mark.parametrize(
    "words",
    [
        ["copy", "a", "b", "--limit", "?"],
        ["copy", "a", "b", "--cores", "?"],
        ["copy", "a", "b", "--spool", "?"],
        ["operation", "limit", "id", "?"],
        ["operation", "list", "--limit", "?"],
        ["volume", "create", "?"],
        ["volume", "extend", "v", "?"],
        ["attach", "v", "--connections", "?"],
        ["serve", "--port", "?"],
        ["api", "--port", "?"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_numbers_are_finite_and_bounded(words: list[str]) -> None:
    """Every number of the command line: what is none, or too large, is wrong usage, and nothing else happens."""
    for odd in ODD:
        with pytest.raises(click.UsageError) as raised:
            run(*[odd if word == "?" else word for word in words])
        assert raised.value.exit_code == 2


def test_a_limit_is_never_rounded_to_none(raw: Path) -> None:
    """0.1 bytes a second is one, and a millionth of a core is not all of them."""
    from nbdsvc.cli.parameter_types import Cores, Rate
    from nbdsvc.datapath.rate_limit import cores

    assert [Rate().convert(text, None, None) for text in ("0", "0.1", "1.5K", "200M/s", "1GiB")] == [
        0,
        1,
        1536,
        200 << 20,
        1 << 30,
    ]
    assert cores(Cores().convert("0.0000001", None, None)) == 1


def test_settings_that_are_none(tmp_path: Path) -> None:
    """A file that is no text, a folder, and an empty address, which would be every address: each is named."""
    (tmp_path / "binary").write_bytes(b"a = \xff")
    for file in (tmp_path / "binary", tmp_path):
        with pytest.raises(errors.ConfigError):
            run("show-config", "--config", file)
    # In a separate process, because serving changes the process (its umask, for example).
    words = ["serve", "--listen", "", "--port", "0", "--state-dir", str(tmp_path / "state")]
    done = subprocess.run([sys.executable, "-m", "nbdsvc", *words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "Setting listen" in done.stderr) == (2, True), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["binary"]


def test_options_that_a_verb_would_not_look_at() -> None:
    """A host has no API to listen; metadata has a value; one volume has one source, distinguished by its name."""
    for words in (
        ["host", "--listen", "::1"],
        ["host", "--port", "1"],
        ["volume", "create", "1", "--metadata", "nothing"],
        ["volume", "create", "1", "--metadata", "a=1", "--metadata", "a=2"],
        ["volume", "create", "1", "--snapshot", "a", "--source", "b"],
        ["volume", "create", "1", "--image", "a", "--source", "b"],
        ["volume", "create", "1", "--snapshot", ""],
    ):
        with pytest.raises(click.UsageError):
            run(*words)
