"""Images on web servers: the requested bytes, or a clear error; never wrong bytes."""

import random
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from images import KiB, MiB, qemu_img
from odd_server import PASSING, WRONG, Site, at_random, install, serving
from waiting import wait_until

from nbdsvc import errors
from nbdsvc.copytool import endpoints
from nbdsvc.datapath.copy import Stopped, copy
from nbdsvc.images import opening
from nbdsvc.images.http.access import Access
from nbdsvc.images.http.file import HttpFile
from nbdsvc.images.http.reach import Reach
from nbdsvc.location import Location

CONTENT = random.Random(3).randbytes(MiB + 123)


def fetch(url: str, folder: Path, access: Access | None = None, declared: str | None = None) -> bytes:
    """The guest's bytes behind a URL, by a copy to a file."""
    _file, _facts, source = opening.open_http(url, opening.How(declared), access)
    (folder / "out").touch()
    with source:
        copy(source, Location.file(folder / "out"))
    return (folder / "out").read_bytes()


@pytest.mark.parametrize("oddity", PASSING)
@pytest.mark.parametrize("when", [1, 3])
def test_what_passes_is_tried_again(tmp_path: Path, oddity: str, when: int) -> None:
    """A close, a reset, a 503 or a cut body once, at the first request or in the middle: the bytes are right all the same."""
    site = Site(CONTENT, oddity=lambda number: oddity if number == when else "")
    with serving(site) as url:
        assert fetch(f"{url}/disk", tmp_path) == CONTENT
    assert site.requests > when


# From the beginning, a server without ranges and another file are what they are.
ODDITIES = [
    (oddity, since) for oddity in WRONG for since in (1, 3) if (oddity, since) not in {("whole", 1), ("other", 1)}
]


@pytest.mark.parametrize(("oddity", "since"), ODDITIES)
def test_another_answer_than_was_asked_for_is_refused(tmp_path: Path, oddity: str, since: int) -> None:
    """Other bytes, lengths, encodings, types, files or statuses than requested: ReadFailed or BadImage with the reason."""
    site = Site(CONTENT, oddity=lambda number: oddity if number >= since else "")
    with serving(site) as url, pytest.raises(errors.DataError):
        fetch(f"{url}/disk", tmp_path)


def test_a_server_that_stays_busy_is_named(tmp_path: Path) -> None:
    """The tries are bounded, and the error names the status."""
    with serving(Site(CONTENT, oddity=lambda _number: "busy")) as url, pytest.raises(errors.ReadFailed, match="503"):
        fetch(f"{url}/disk", tmp_path)


def test_an_idle_connection_may_end(tmp_path: Path) -> None:
    """A server that closes each connection after an answer costs a new connection and no error."""
    site = Site(CONTENT)
    with serving(site) as url:
        file = HttpFile(f"{url}/disk")
        for at in range(0, len(CONTENT), 256 * KiB):
            file._client._managers["", "http"].clear()
            assert file.pread(at, 1) == CONTENT[at : at + 1]
        file.close()


def test_a_signed_url_that_expires_is_renewed(tmp_path: Path) -> None:
    """The first URL is requested again for a new target of the same file; the signature is in no message."""
    site = Site(CONTENT * 4)
    with serving(site) as url:
        file = HttpFile(f"{url}/first")
        for at in range(0, MiB, 300 * KiB):
            site.expired |= {path for path, _ in site.seen if path.startswith("/signed")}
            assert file.pread(at, 10) == CONTENT[at : at + 10]
        assert file.name == f"{url}/first"
        site.expired |= {path for path, _ in site.seen if path.startswith("/signed")}
        site.etag = '"two"'
        with pytest.raises(errors.ReadFailed, match="changed") as caught:
            file.pread(3 * MiB, 10)
        assert "secret" not in str(caught.value)
        file.close()


def test_redirects_are_bounded_and_stay_safe(tmp_path: Path) -> None:
    """A loop, another scheme, and nothing at all where it leads: each ends with a message."""
    for location, reason in (("/loop", "more than 5 times"), ("ftp://h/x", "http or https"), ("", "where to")):
        site = Site(CONTENT, oddity=lambda _number: "loop")
        with serving(site) as url:
            handler_redirect = {"loop": lambda handler, to=location: handler._say(302, b"", {"Location": to})}
            site.oddity = install(handler_redirect)
            with pytest.raises(errors.ReadFailed, match=reason):
                HttpFile(f"{url}/x")


def test_without_ranges_it_is_read_once_in_order(tmp_path: Path) -> None:
    """A raw image of a server without ranges is copied by one request; of chunks, refused or read, never cut."""
    site = Site(CONTENT, ranges=False)
    with serving(site) as url:
        assert fetch(f"{url}/disk", tmp_path, declared="raw") == CONTENT
        assert site.requests == 1
        site.oddity = lambda number: "truncated" if number == 2 else ""
        assert fetch(f"{url}/disk", tmp_path, declared="raw") == CONTENT
        site.etag, site.oddity = "", lambda _number: "truncated"
        with pytest.raises(errors.ReadFailed):
            fetch(f"{url}/disk", tmp_path, declared="raw")


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    """Not as a status of the server."""
    for ranges in (True, False):
        with serving(Site(b"", ranges=ranges)) as url, pytest.raises(errors.ReadFailed, match="the file is empty"):
            HttpFile(f"{url}/x")


@pytest.mark.parametrize("oddity", ["silent", "drip"])
def test_a_cancel_is_seen_in_a_read(tmp_path: Path, oddity: str) -> None:
    """A copy that waits for a server which says nothing, or next to nothing, ends when it is stopped."""
    site = Site(CONTENT, oddity=lambda number: oddity if number > 1 else "")
    stop = threading.Event()
    with serving(site) as url:
        file = HttpFile(f"{url}/disk")
        from nbdsvc.datapath import source as sources

        source = sources.open_callback(file.pread, len(CONTENT), "raw", file.name, abort=file.abort)
        source.on_close = file.close
        (tmp_path / "out").touch()
        ended: list[BaseException] = []

        def run() -> None:
            try:
                copy(source, Location.file(tmp_path / "out"), should_stop=stop.is_set)
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: site.requests > 1)
        stop.set()
        thread.join(10)  # a third of the time after which the server answers
        assert [type(error) for error in ended] == [Stopped]
        source.close()


def test_a_server_that_drips_is_given_up(tmp_path: Path) -> None:
    """Below the least rate the read fails with both numbers, and is not tried again."""
    site = Site(CONTENT, oddity=lambda number: "drip" if number > 1 else "")
    with serving(site) as url, pytest.raises(errors.ReadFailed, match="100 a second are the least"):
        HttpFile(f"{url}/x", Access(silence=0.5, least_rate=100)).pread(0, 1000)


def test_a_stream_that_drips_is_given_up(tmp_path: Path) -> None:
    """The least rate holds for a server without ranges too, and begins anew: what came quickly before excuses nothing."""
    site = Site(CONTENT, ranges=False, oddity=install({"slows": _slow_down}))
    with serving(site) as url:
        file = HttpFile(f"{url}/x", Access(silence=0.5, least_rate=100))
        assert file.pread(0, MiB // 2) == CONTENT[: MiB // 2]
        with pytest.raises(errors.ReadFailed, match="100 a second are the least"):
            file.pread(MiB // 2, MiB // 2)
        file.close()


def _slow_down(handler: Any) -> None:
    """Half of the file at once, then ten bytes a second."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT[: MiB // 2])
    for at in range(MiB // 2, MiB // 2 + 300):
        handler.wfile.write(CONTENT[at : at + 1])
        time.sleep(0.1)


def test_a_journal_goes_on_only_where_the_server_tells_versions(tmp_path: Path) -> None:
    """With an ETag two openings are one source; without anything that changes with the content they are two."""
    for etag, same in (('"one"', True), ("", False)):
        with serving(Site(CONTENT, etag=etag)) as url:
            marks = {endpoints.open_source(f"{url}/x").fingerprint() for _ in range(2)}
        assert (len(marks) == 1) is same


def test_a_coded_transfer_is_no_disk(tmp_path: Path) -> None:
    """Chunks with another coding in them are refused, and two Content-Encodings are not the last one."""
    for headers in (
        {"Transfer-Encoding": "gzip, chunked"},
        {"Content-Encoding": "gzip", "content-encoding": "identity"},
    ):
        site = Site(
            CONTENT, ranges=False, oddity=install({"coded": lambda handler, h=headers: handler._serve(headers=h)})
        )
        with serving(site) as url, pytest.raises(errors.ReadFailed, match="which was not requested"):
            fetch(f"{url}/disk", tmp_path, declared="raw")


def test_what_is_not_http_is_named_and_not_quoted(tmp_path: Path) -> None:
    """A banner of another protocol is not in the error; a head that does not end is not read for ever."""
    for sent in (b"SSH-2.0-secret banner\r\n", b"HTTP/1.1 206 x\r\n" + b"a: b\r\n" * 200 + b"\r\n"):
        site = Site(CONTENT, oddity=install({"raw": lambda handler, sent=sent: _answer(handler, sent)}))
        with serving(site) as url, pytest.raises(errors.ReadFailed, match="no head of HTTP") as caught:
            HttpFile(f"{url}/x")
        assert "secret" not in str(caught.value)
        assert site.requests == 1


def _answer(handler: Any, sent: bytes) -> None:
    handler.wfile.write(sent)
    handler._end()


def test_a_proxy_is_not_asked_for_inner_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that this host resolves to an address that is refused does not reach the proxy either."""
    site = Site(CONTENT)
    with serving(site) as address:
        monkeypatch.setenv("http_proxy", address)
        monkeypatch.setenv("no_proxy", "")
        for host in ("127.0.0.1", "localhost", "[::ffff:10.0.0.1]"):
            with pytest.raises(errors.ReadFailed, match="not fetched from"):
                HttpFile(f"http://{host}:1/x", Access(Reach()))
    assert site.requests == 0


def test_characters_outside_of_ascii_are_encoded(tmp_path: Path) -> None:
    """A path with them is requested in UTF-8 and percent signs; what is encoded already stays."""
    site = Site(CONTENT)
    with serving(site) as url:
        assert fetch(f"{url}/ä b%20c.raw?q=ü", tmp_path) == CONTENT
    assert site.seen[0][0] == "/%C3%A4%20b%20c.raw?q=%C3%BC"


def test_credentials_go_to_their_own_host_only(tmp_path: Path) -> None:
    """A user name and password in the URL are sent as Basic to that opened, and nowhere else, and are never shown."""
    first, second = Site(CONTENT), Site(CONTENT)
    with serving(first) as url, serving(second) as other:
        first.oddity = install({"away": lambda handler: handler._say(302, b"", {"Location": f"{other}/x"})})
        file = HttpFile(url.replace("//", "//user:geheim@") + "/x")
        assert file.pread(0, 4) == CONTENT[:4]
        assert "geheim" not in file.name + repr(file._first)
        file.close()
    assert first.seen[0][1]["authorization"].startswith("Basic ")
    assert "authorization" not in second.seen[0][1]


def test_causes_are_readable(tmp_path: Path) -> None:
    """A name that is not known, a refused connection, a certificate of an unknown authority, TLS to a server without it."""
    import ssl

    openssl(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with serving(Site(CONTENT), context) as url, serving(Site(CONTENT)) as plain:
        for wrong, reason in (
            ("http://nosuch.invalid/x", "the name nosuch.invalid is not known"),
            (f"http://127.0.0.1:{_closed_port()}/x", "refused"),
            (f"{url}/x", "certificate is not trusted"),
            (plain.replace("http", "https") + "/x", "TLS failed"),
        ):
            with pytest.raises(errors.ReadFailed, match=reason):
                HttpFile(wrong)
        trusting = HttpFile(f"{url}/x", Access(ca_file=tmp_path / "cert.pem"))
        assert trusting.pread(5, 3) == CONTENT[5:8]
        trusting.close()


def openssl(folder: Path) -> None:
    """A certificate for 127.0.0.1 that vouches for itself."""
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)


def _closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """http_proxy is used, no_proxy is honoured, and a SOCKS proxy is refused by name."""
    site = Site(CONTENT)
    with serving(site) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        file = HttpFile("http://images.invalid/disk")
        assert file.pread(0, 5) == CONTENT[:5]
        file.close()
        assert site.seen[0][0] == "http://images.invalid/disk"
        monkeypatch.setenv("no_proxy", "images.invalid")
        with pytest.raises(errors.ReadFailed, match="not known"):
            HttpFile("http://images.invalid/disk")
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    monkeypatch.delenv("no_proxy")
    with pytest.raises(errors.ReadFailed, match="socks5, which is not supported"):
        HttpFile("http://images.invalid/disk")


def test_a_head_that_drips_is_given_up() -> None:
    """Byte by byte it would keep within every read's time, and never be whole."""
    site = Site(CONTENT, oddity=lambda number: "head" if number > 1 else "")
    with serving(site) as url:
        file = HttpFile(f"{url}/x", Access(silence=0.5))
        with pytest.raises(errors.ReadFailed, match="took more than 1 s"):
            file.pread(0, 1000)
        file.close()


COPIES = 1000


def test_a_soak_of_odd_servers(tmp_path: Path) -> None:
    """A thousand copies from servers that misbehave by a seed: the right bytes or an error of the data, never wrong bytes."""
    raw = random.Random(5).randbytes(192 * KiB)
    (tmp_path / "raw").write_bytes(raw)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", tmp_path / "raw", tmp_path / "qcow2")
    files, counts = {"raw": raw, "qcow2": (tmp_path / "qcow2").read_bytes()}, Counter[str]()
    lock = threading.Lock()

    def work(seeds: range, folder: Path) -> None:
        folder.mkdir()
        for seed in seeds:
            name, ranges = ("qcow2", True) if seed % 2 else ("raw", seed % 6 != 0)
            wrong = WRONG if ranges else ("html", "gzip", "lost")
            site = Site(files[name], oddity=at_random(seed, wrong), ranges=ranges)
            with serving(site) as url:
                try:
                    right = fetch(f"{url}/{'first' if seed % 5 == 0 else 'disk'}", folder) == raw
                    outcome = "right" if right else "WRONG"
                except errors.DataError as error:
                    outcome = "refused: " + error.reason[:40]
            with lock:
                counts[outcome] += 1

    threads = [threading.Thread(target=work, args=(range(n, COPIES, 20), tmp_path / str(n))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(f"{count:5} {outcome}" for outcome, count in counts.most_common()))
    assert counts["WRONG"] == 0
    assert sum(counts.values()) == COPIES
    assert counts["right"] > COPIES / 3
