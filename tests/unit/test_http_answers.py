"""What an answer of a web server must be, which words a failure has, and which URLs and proxies are taken."""

import http.client
import ssl

import pytest
import urllib3

from nbdsvc import errors
from nbdsvc.images.http import proxy, url
from nbdsvc.images.http.answer import Outcome, judge, named_small
from nbdsvc.images.http.file import _retry_after
from nbdsvc.images.http.unreachable import Unreachable, as_unreachable

PART = {"content-range": "bytes 10-19/100", "content-length": "10"}
# (status, headers, the kind of the verdict, words of its reason) for a request of bytes 10 to 19.
ANSWERS = {
    "as requested": (206, PART, Outcome.BODY, ""),
    "to the end": (206, {"content-range": "bytes 10-14/15"}, Outcome.BODY, ""),
    "typed": (206, PART | {"content-type": "application/octet-stream"}, Outcome.BODY, ""),
    "plain text": (206, PART | {"content-type": "text/plain"}, Outcome.BODY, ""),
    "the whole": (200, {"content-length": "100"}, Outcome.BODY, ""),
    "the start": (206, {"content-range": "bytes 0-9/100"}, Outcome.WRONG, "0 to 9, not 10 to 19"),
    "less": (206, {"content-range": "bytes 10-18/100"}, Outcome.WRONG, "10 to 18"),
    "more": (206, {"content-range": "bytes 10-29/100"}, Outcome.WRONG, "10 to 29"),
    "no range": (206, {"content-length": "10"}, Outcome.WRONG, "which bytes"),
    "other units": (206, {"content-range": "items 10-19/100"}, Outcome.WRONG, "which bytes"),
    "two ranges": (206, {"content-range": "bytes 10-19/100, bytes 0-9/100"}, Outcome.WRONG, "which bytes"),
    "of unknown": (206, {"content-range": "bytes 10-19/*"}, Outcome.WRONG, "which bytes"),
    "2^63": (206, {"content-range": f"bytes 10-19/{1 << 63}"}, Outcome.WRONG, "the file has"),
    "wrong length": (206, PART | {"content-length": "11"}, Outcome.WRONG, "announces 11"),
    "negative length": (206, PART | {"content-length": "-1"}, Outcome.WRONG, "announces -1"),
    "two lengths": (206, PART | {"content-length": "10, 11"}, Outcome.WRONG, "announces"),
    "encoded": (206, PART | {"content-encoding": "gzip"}, Outcome.WRONG, "encoded as 'gzip'"),
    "encoded and not": (206, PART | {"content-encoding": "gzip, identity"}, Outcome.WRONG, "encoded"),
    "coded for transfer": (206, PART | {"transfer-encoding": "gzip, chunked"}, Outcome.WRONG, "transfer coding"),
    "several parts": (206, PART | {"content-type": "multipart/byteranges; boundary=x"}, Outcome.WRONG, "multipart"),
    "a page": (200, {"content-length": "9", "content-type": "Text/HTML; charset=utf-8"}, Outcome.WRONG, "text/html"),
    "an error in JSON": (200, {"content-length": "9", "content-type": "application/json"}, Outcome.WRONG, "no disk"),
    "until close": (200, {}, Outcome.WRONG, "end looks like"),
    "empty": (200, {"content-length": "0"}, Outcome.WRONG, "empty"),
    "an empty range": (416, {"content-range": "bytes */0"}, Outcome.WRONG, "empty"),
    "not to be had": (416, {"content-range": "bytes */5"}, Outcome.WRONG, "416"),
    "busy": (503, {}, Outcome.AGAIN, "503 Service Unavailable"),
    "too many": (429, {}, Outcome.AGAIN, "429 Too Many Requests"),
    "over": (403, {}, Outcome.EXPIRED, "403 Forbidden"),
    "no content": (204, {}, Outcome.WRONG, "204 No Content"),
    "unassigned": (799, {}, Outcome.WRONG, "799"),
    "elsewhere": (302, {"location": "/x"}, Outcome.REDIRECT, ""),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_what_was_asked_for_or_named(name: str) -> None:
    """By its status, range, length, codings and type."""
    status, headers, kind, words = ANSWERS[name]
    verdict = judge(status, headers, (10, 19))
    assert verdict.outcome is kind, verdict
    assert words in verdict.reason


def test_a_header_that_comes_twice_is_not_the_last_one() -> None:
    """Two encodings or two ranges are judged together; the date of Retry-After and odd digits are no number."""
    headers = urllib3.HTTPHeaderDict([("Content-Encoding", "gzip"), ("Content-Encoding", "identity")])
    assert judge(200, named_small(headers), None).outcome is Outcome.WRONG
    for text, seconds in (("3", 3.0), ("²", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("-1", 0.0)):
        assert _retry_after(urllib3.HTTPResponse(headers={"Retry-After": text})) == seconds


CAUSES = [
    (ConnectionRefusedError(111, "refused"), "refused", False),
    (ConnectionResetError(104, "reset"), "closed the connection", True),
    (TimeoutError("timed out"), "said nothing for 7 s", True),
    (OSError(24, "Too many open files"), "Too many open files", False),
    (OSError(113, "No route to host"), "No route to host", True),
    (urllib3.exceptions.ProtocolError("x", http.client.RemoteDisconnected("x")), "closed the connection", True),
    (urllib3.exceptions.ProtocolError("x", http.client.IncompleteRead(b"")), "closed the connection", True),
    (urllib3.exceptions.ProtocolError("x", http.client.BadStatusLine("SSH-2.0-x")), "no head of HTTP", False),
    (urllib3.exceptions.ProtocolError("x", http.client.LineTooLong("header line")), "no head of HTTP", False),
    (urllib3.exceptions.ProxyError("x", OSError("Tunnel failed: 407 a\nb" + "c" * 999)), "the proxy cannot", False),
    (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong"), "TLS failed", False),
]


@pytest.mark.parametrize(("error", "words", "is_transient"), CAUSES, ids=[words for _, words, _ in CAUSES])
def test_a_failure_has_words(error: Exception, words: str, is_transient: bool) -> None:
    """The cause, without what another host may have said, and whether trying again may help."""
    found = as_unreachable(error, 7)
    assert (words in str(found), found.is_transient) == (True, is_transient), found
    assert "SSH" not in str(found)
    assert len(str(found)) < 500
    assert "\n" not in str(found)


@pytest.mark.parametrize(
    "text", ["http://[abc:def]/x", "http://[::1", "http://[::1]:x/", "http://h/\udc80", "http:/h/x"]
)
def test_a_wrong_url_is_named(text: str) -> None:
    """Also where the standard library would take it, and only names would be looked up."""
    with pytest.raises(errors.InvalidInput, match="Invalid value for imageRef"):
        url.parse(text)


def test_a_redirect_may_have_a_fragment() -> None:
    """It means nothing to a server (RFC 9110, 10.2.2), and the target is fetched without it."""
    assert url.redirected(url.parse("https://h/a"), "/b#top").text == "https://h/b"


def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """all_proxy stands for both; a password goes to the proxy as a header; what is no URL is said without it."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("all_proxy", "http://me:geheim@proxy.example:3128")
    found = proxy.of(url.parse("http://h/x"))
    made = proxy.through(found, {})
    assert made.proxy and made.proxy.url == "http://proxy.example:3128"
    assert made.proxy_headers["proxy-authorization"] == "Basic bWU6Z2VoZWlt"
    with pytest.raises(Unreachable) as caught:
        proxy.through("http://me:geheim@[bad:x", {})
    assert "geheim" not in str(caught.value)
