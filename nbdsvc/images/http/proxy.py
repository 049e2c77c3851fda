"""The proxies that the environment names: http_proxy, https_proxy, all_proxy and no_proxy, in small or capital letters."""

import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import urllib3

from nbdsvc.images.http.unreachable import Unreachable
from nbdsvc.images.http.url import Url


def of(url: Url) -> str:
    """The proxy that the environment names for it; "" for none."""
    named = urllib.request.getproxies()
    proxy = named.get(url.scheme) or named.get("all", "")
    if not proxy or urllib.request.proxy_bypass(f"{url.host}:{url.port}"):
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.lower().startswith(("http://", "https://")):
        kind = proxy.partition(":")[0]
        raise Unreachable(
            f"the proxy of {url.scheme}_proxy is of kind {kind}, which is not supported", is_transient=False
        )
    return proxy


def through(proxy: str, kept: dict[str, Any]) -> urllib3.ProxyManager:
    """A pool manager for requests through this proxy. User name and password go to the proxy only, and into no message."""
    try:
        parts = urlsplit(proxy)
        user, password, _ = parts.username, parts.password, parts.port
        headers = {}
        if user is not None:
            headers = urllib3.make_headers(proxy_basic_auth=f"{unquote(user)}:{unquote(password or '')}")
        address = urlunsplit((parts.scheme.lower(), parts.netloc.rpartition("@")[2], "", "", ""))
        return urllib3.ProxyManager(address, proxy_headers=headers, **kept)
    except (ValueError, urllib3.exceptions.HTTPError):
        raise Unreachable("the proxy that the environment names is no URL", is_transient=False) from None
