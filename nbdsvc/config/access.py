"""Settings of the API (its address, tokens and limits of requests) and of the log."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbdsvc.config.check import Check


@dataclass(frozen=True)
class Access:
    """Settings of the API (its address, tokens and limits of requests) and of the log."""

    # Address and port of the API.
    listen: str = "127.0.0.1"
    port: int = 8776
    # noauth: every user is an administrator, as in Cinder's noauth; unless the administrator sets noauth explicitly,
    # the API may listen only on this host's own addresses (127.0.0.1, ::1). token: users have the tokens of
    # tokens_file. keystone: users have tokens of Keystone (keystone_url).
    auth: str = "noauth"
    # TOML: [tokens.NAME] token = "...", project = "...", user = "...", roles = ["member"]. Only its owner may read it.
    tokens_file: Path | None = None
    # Largest body of a request, in bytes: no request of this API is larger than a few KiB.
    max_body: int = 114688
    # Most entries of one page of a list.
    max_limit: int = 1000
    # Format of the log: json or console.
    log_format: str = "console"
    log_level: str = "info"

    def checks(self) -> Iterator[Check]:
        """The checks that concern these settings alone."""
        yield Check(self.auth not in ("noauth", "token", "keystone"), "auth", "must be noauth, token or keystone")
        yield Check(self.auth == "token" and self.tokens_file is None, "tokens_file", "auth = token needs it")
        yield Check(not 0 <= self.port <= 65535, "port", "must be 0 to 65535")
