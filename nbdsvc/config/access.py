"""Who reaches the API, where, and with what requests; and the log."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbdsvc.config.check import Check


@dataclass(frozen=True)
class Access:
    """Who reaches the API, where, and with what requests; and the log."""

    # Address and port of the API.
    listen: str = "127.0.0.1"
    port: int = 8776
    # noauth: every user is an administrator, as in Cinder's noauth; unless it is set, the API then listens on this
    # host's own addresses (127.0.0.1, ::1) only. token: the tokens of tokens_file.
    auth: str = "noauth"
    # TOML: [tokens.NAME] token = "...", project = "...", user = "...", roles = ["member"]. Readable by its owner only.
    tokens_file: Path | None = None
    # Largest body of a request, in bytes: no request of this API is larger than a few KiB.
    max_body: int = 114688
    # Largest page of a list.
    max_limit: int = 1000
    # Format of the log: json or console.
    log_format: str = "console"
    log_level: str = "info"

    def checks(self) -> Iterator[Check]:
        """What is wrong with these settings, whatever the others are."""
        yield Check(self.auth not in ("noauth", "token"), "auth", "must be noauth or token")
        yield Check(self.auth == "token" and self.tokens_file is None, "tokens_file", "auth = token needs it")
        yield Check(not 0 <= self.port <= 65535, "port", "must be 0 to 65535")
