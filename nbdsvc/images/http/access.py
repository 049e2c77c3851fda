"""Limits for fetching images, apart from the client: a service that fetches none does not load urllib3."""

from dataclasses import dataclass
from pathlib import Path

from nbdsvc.images.http.reach import Reach


@dataclass(frozen=True)
class Access:
    """Limits for fetching images. reach: addresses that URLs may lead to; None: any, for a user's own copy.

    ca_file: certificates to trust in place of the system's. silence: seconds for which a server may say nothing.
    least_rate: bytes a second below which a request is given up, measured over `silence` seconds; 0: none.
    """

    reach: Reach | None = None
    ca_file: Path | None = None
    silence: float = 30.0
    least_rate: int = 0
