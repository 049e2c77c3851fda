"""What a source or sink opens for a location: a path of this host, or the URI of an NBD export."""

import os
from pathlib import Path
from urllib.parse import quote

from nbdsvc import errors
from nbdsvc.location import LOCAL, Location


def target_of(location: Location) -> Path | str:
    """The path of a local location, or the URI of an NBD export. Unsupported for other schemes."""
    if location.scheme in LOCAL:
        return location.path
    if location.scheme == "nbd":
        return nbd_uri(location)
    raise errors.Unsupported(reason=f"the data path opens no location of scheme {location.scheme}: {location}")


def nbd_uri(location: Location) -> str:
    """The URI of an `nbd` location, with the file of its pre-shared key as libnbd takes it: by the last parameter.

    A fragment is removed, because libnbd would read the parameter as its part and connect without the key.
    """
    file = location.options.get("tls_psk_file")
    if file is None:
        return location.address
    uri, _, _fragment = location.address.partition("#")
    # urlencode would write a space as +, which libnbd does not decode.
    return f"{uri}{'&' if '?' in uri else '?'}tls-psk-file={quote(os.fsencode(file))}"
