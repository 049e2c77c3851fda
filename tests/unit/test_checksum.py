"""Digests of images' files: as coreutils and BSD write catalogues, and what is refused."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from nbdsvc import errors
from nbdsvc.images.checksum import Check, Checksum, beside

CONTENT = bytes(range(256)) * 9000


def finish(path: Path, wanted: Checksum | None) -> None:
    with path.open("rb") as file:

        def read(at: int, length: int) -> bytes:
            file.seek(at)
            return file.read(length)

        with Check(wanted, read, len(CONTENT), path.name) as check:
            check.finish()


@pytest.mark.parametrize("program", ["sha256sum", "sha512sum", "sha256sum --tag", "sha512sum -b"])
def test_catalogues_as_the_tools_write_them(tmp_path: Path, program: str) -> None:
    """The image's own line is found among others, and its bytes are what it says; one byte more or less is an error."""
    image = tmp_path / "disk one.qcow2"
    image.write_bytes(CONTENT)
    (tmp_path / "other").write_bytes(b"other")
    made = subprocess.run(
        [*program.split(), "other", image.name], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (tmp_path / f"SHA{program[3:6]}SUMS").write_text("# a comment\n" + made.stdout)
    wanted = beside(image)
    assert wanted == Checksum(program[:6], hashlib.new(program[:6], CONTENT).hexdigest())
    finish(image, wanted)
    image.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(errors.ChecksumMismatch, match=wanted.digest):
        finish(image, wanted)
    image.write_bytes(CONTENT[:-1])
    with pytest.raises(errors.ReadFailed, match="shorter"):
        finish(image, wanted)


def test_the_stronger_catalogue_counts_and_nonsense_is_refused(tmp_path: Path) -> None:
    """SHA512SUMS before SHA256SUMS; no line, no judgement; a line that is no digest is an error that names the file."""
    image = tmp_path / "disk"
    image.write_bytes(CONTENT)
    assert beside(image) is None
    finish(image, None)
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  ./disk\n")
    assert beside(image) == Checksum("sha256", "0" * 64)
    (tmp_path / "SHA512SUMS").write_text(f"{'A' * 128} *disk\n")
    assert beside(image) == Checksum("sha512", "a" * 128)
    (tmp_path / "SHA512SUMS").write_text(f"{'a' * 127}  disk\n")
    with pytest.raises(errors.BadImage, match="in SHA512SUMS must be"):
        beside(image)
    for text in ("", "md5:00", "sha256:", f"sha256:{'g' * 64}", f"sha512:{'0' * 64}"):
        with pytest.raises(ValueError, match="must be sha256"):
            Checksum.parse(text)
