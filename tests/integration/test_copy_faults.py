"""What goes wrong under a copy: a readable error, a destination as promised, nothing left, and a journal that goes on."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from images import MiB
from nbdkits import nbdkit
from waiting import wait_until

SIZE = 96 * MiB
# The bytes of a destination before the copy.
OLD = b"\xee"
# Bytes a second: slow enough that a fault comes in the middle, after the journal's first checkpoint.
LIMIT = "16M"
SERVER = Path(__file__).resolve().parents[1] / "support" / "image_server.py"


@dataclass
class Scene:
    """A source, a destination, what breaks one of them, what the error says, and what mends it."""

    source: str
    destination: str
    says: str
    break_it: Callable[[], object] = lambda: None
    mend: Callable[[], object] | None = None
    left: set[str] = field(default_factory=set)


def copy(scene: Scene, *options: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "nbdsvc", "copy", scene.source, scene.destination, "--json", *options]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_in_the_middle(scene: Scene, journal: Path | None) -> bool:
    """8 MiB are written, and the journal, where there is one, marks a chunk behind its head of 64 bytes."""
    return _is_written(scene) and (journal is None or (journal.exists() and any(journal.read_bytes()[64:])))


def _is_written(scene: Scene) -> bool:
    if "nbd+unix" not in scene.destination:
        return sum(path.stat().st_blocks for path in Path(scene.destination).parent.glob(".out*")) * 512 >= 8 * MiB
    with (Path(scene.source).parent / "target").open("rb") as target:
        target.seek(8 * MiB)
        return target.read(1) != OLD


@contextmanager
def small_file_system(folder: Path, size: int) -> Iterator[Path]:
    mounted = folder / "small"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mounted)], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


@contextmanager
def web(path: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    server = subprocess.Popen([sys.executable, str(SERVER), str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        yield server.stdout.readline().strip(), server
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def make_scene(kind: str, folder: Path, stack: ExitStack) -> Scene:
    raw, out = folder / "raw", str(folder / "out")
    trigger = folder / "trigger"
    broken = ["--filter=error", "file"]
    if kind == "a server's disk fails":
        words = [*broken, raw, "error=EIO", "error-pread-rate=100%", f"error-pread-file={trigger}"]
        uri, _ = stack.enter_context(nbdkit(folder, *words))
        return Scene(uri, out, "nput/output error", trigger.touch, trigger.unlink)
    if kind == "a server dies":
        uri, child = stack.enter_context(nbdkit(folder, "file", raw))
        return Scene(uri, out, "failed at byte", child.kill)
    if kind == "a web server dies":
        url, server = stack.enter_context(web(raw))
        return Scene(url, out, "refused", server.kill)
    if kind == "the source shrinks":
        return Scene(str(raw), out, "shorter", lambda: os.truncate(raw, SIZE // 2))
    if kind == "the destination is full":
        mounted = stack.enter_context(small_file_system(folder, SIZE // 2))
        enlarge = ["mount", "-o", f"remount,size={2 * SIZE}", str(mounted)]
        return Scene(str(raw), str(mounted / "out"), "No space left", mend=lambda: subprocess.run(enlarge, check=True))
    target = folder / "target"
    target.write_bytes(OLD * SIZE)
    words = [*broken, target, "error=ENOSPC", "error-pwrite-rate=100%", f"error-pwrite-file={trigger}"]
    uri, _ = stack.enter_context(nbdkit(folder, *words))
    return Scene(str(raw), uri, "o space left", trigger.touch, trigger.unlink)


KINDS = (
    "a server's disk fails",
    "a server dies",
    "a web server dies",
    "the source shrinks",
    "the destination is full",
    "the destination's server is full",
)


@pytest.mark.parametrize("journal", [False, True], ids=["alone", "with a journal"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_in_the_middle_is_said_and_leaves_nothing(tmp_path: Path, kind: str, journal: bool) -> None:
    """No file under the new name and none beside it; with a journal what was written stays, and the next run goes on."""
    content = os.urandom(MiB) * (SIZE // MiB)
    (tmp_path / "raw").write_bytes(content)
    options = ["--limit", LIMIT, *(["--journal", str(tmp_path / "journal")] if journal else [])]
    with ExitStack() as stack:
        scene = make_scene(kind, tmp_path, stack)
        out = Path(scene.destination)
        child = copy(scene, *options)
        wait_until(
            lambda: child.poll() is not None or is_in_the_middle(scene, tmp_path / "journal" if journal else None)
        )
        scene.break_it()
        said = child.communicate(timeout=60)[1]
        assert (child.returncode, scene.says in said, "Traceback" in said) == (1, True, False), said
        assert not out.exists()
        kept = [path.name for path in out.parent.glob(".*")] if out.parent.is_dir() else []
        assert kept == ([".out.nbdsvc-part"] if journal and "nbd+unix" not in scene.destination else []), kept
        if journal and scene.mend:
            scene.mend()
            again = copy(scene, *options[2:], "--verify")
            summary, printed = again.communicate(timeout=60)
            assert again.returncode == 0, printed
            assert json.loads(summary)["found"] > 0
            result = tmp_path / "target" if "nbd+unix" in scene.destination else out
            assert result.read_bytes() == content


def test_a_server_that_stalls_ends_with_its_user(tmp_path: Path) -> None:
    """Ctrl-C ends a copy from a server that does not answer, with a message, and leaves nothing."""
    (tmp_path / "raw").write_bytes(os.urandom(MiB))
    with nbdkit(tmp_path, "--filter=delay", "file", tmp_path / "raw", "delay-read=60") as (uri, _):
        argv = ["env", "--default-signal=INT", sys.executable, "-m", "nbdsvc", "copy", uri, str(tmp_path / "out")]
        child = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: list(tmp_path.glob(".out*")))
        child.send_signal(2)
        said = child.communicate(timeout=30)[1]  # half of the time after which the server answers
    assert child.returncode != 0
    assert "Traceback" not in said
    assert not list(tmp_path.glob("*out*"))


def test_a_server_that_stalls_is_given_up(tmp_path: Path) -> None:
    """One that does not answer for half a minute is a readable error."""
    (tmp_path / "raw").write_bytes(os.urandom(MiB))
    with nbdkit(tmp_path, "--filter=delay", "file", tmp_path / "raw", "delay-read=120") as (uri, _):
        began = time.monotonic()
        child = copy(Scene(uri, str(tmp_path / "out"), ""))
        said = child.communicate(timeout=90)[1]
        assert time.monotonic() - began > 25
    assert (child.returncode, "Traceback" in said) == (1, False), said
    assert "has not answered for 30 seconds" in said
    assert not list(tmp_path.glob("*out*"))
