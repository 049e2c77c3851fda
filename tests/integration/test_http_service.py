"""Images on web servers, as a service fetches them for its projects: where their URLs may lead, and what is refused."""

import random
from collections.abc import Callable

import pytest
from images import MiB
from odd_server import Site, install, serving
from serving import ServiceProcess

from nbdsvc import errors

CONTENT = random.Random(3).randbytes(MiB + 123)


def test_a_page_is_no_disk(make_service: Callable[..., ServiceProcess]) -> None:
    """A server's page of HTML with 200 fails the creation with a message, and the volume is not available."""
    service = make_service(image_http_networks="127.0.0.0/8")
    with serving(Site(CONTENT, oddity=lambda _number: "html")) as url:
        body = {"volume": {"size": 1, "imageRef": f"{url}/disk.raw"}}
        volume = service.client().post("volumes", body=body)["volume"]["id"]
        assert service.wait_status("volumes", volume) == "error"
    assert "text/html, which is no disk" in str(service.client().operation_of(volume)["error"])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433"]
)
def test_the_service_does_not_fetch_from_its_own_network(shared_service: ServiceProcess, host: str) -> None:
    """A member's URL to this host, in any writing, is refused at once or fails, and the server gets no request."""
    site = Site(CONTENT)
    with serving(site) as url:
        reference = f"http://{host}:{url.rpartition(':')[2]}/metrics"
        try:
            made = shared_service.client().post("volumes", body={"volume": {"size": 1, "imageRef": reference}})
        except errors.Error as error:
            assert "not fetch" in str(error)
        else:
            assert shared_service.wait_status("volumes", made["volume"]["id"]) == "error"
    assert site.requests == 0


def test_a_redirect_to_its_own_network_is_refused_too(make_service: Callable[..., ServiceProcess]) -> None:
    """Where the first host is allowed by its address and the second is not."""
    service = make_service(image_http_networks="127.0.0.1/32")
    inner, outer = Site(CONTENT), Site(CONTENT)
    with serving(inner) as url, serving(outer) as front:
        there = url.replace("127.0.0.1", "127.0.0.2")
        outer.oddity = install({"inward": lambda handler: handler._say(302, b"", {"Location": f"{there}/x"})})
        made = service.client().post("volumes", body={"volume": {"size": 1, "imageRef": f"{front}/x"}})["volume"]["id"]
        assert service.wait_status("volumes", made) == "error"
    assert (outer.requests > 0, inner.requests) == (True, 0)


@pytest.mark.parametrize(
    "url",
    ["http://h:abc/x", "http://h:99999/x", "http:///x", "http://[bad/x", "http://h\n/x", "http://",
     "HTTP://h:0/", "https://" + "h" * 300, "http://exa mple/", "ftp://h/x", "http:x", "http://" + "a" * 20000],
)  # fmt: skip
def test_a_wrong_url_is_400_with_the_reason(shared_service: ServiceProcess, url: str) -> None:
    """At once, with the field."""
    with pytest.raises(errors.RequestError, match="imageRef"):
        shared_service.client().post("volumes", body={"volume": {"size": 1, "imageRef": url}})
