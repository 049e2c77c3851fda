"""Settings of Keystone, of whose tokens the API takes, and of the policy."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbdsvc.config.check import Check


@dataclass(frozen=True)
class Identity:
    """Settings of Keystone, of whose tokens the API takes, and of the policy."""

    # Address of Keystone's API for this service (http:// or https://, with or without /v3); with auth = keystone.
    keystone_url: str = ""
    # Its address for clients, which a 401 names; empty: keystone_url.
    keystone_public_url: str = ""
    # The user that validates tokens; it needs the role admin, or another that Keystone's policy lets validate them.
    keystone_user: str = "nbdsvc"
    keystone_user_domain: str = "Default"
    keystone_project: str = "service"
    keystone_project_domain: str = "Default"
    # File with the user's password in its first line. Only its owner may read it.
    keystone_password_file: Path | None = None
    # Certificates of the authorities that Keystone's is trusted by, in PEM; without it, those of the system.
    keystone_ca_file: Path | None = None
    # Seconds for which a validation waits for Keystone's next byte; then the request ends with 503.
    keystone_timeout: float = 5.0
    # Seconds for which a validated token is trusted: so late a revocation is seen. As keystonemiddleware's.
    keystone_cache_seconds: int = 300
    # Most tokens that are remembered; each takes about a KiB.
    keystone_cache_tokens: int = 4096
    # A request whose X-Service-Token has one of these roles may come with an expired token of its user.
    keystone_service_roles: tuple[str, ...] = ("service",)
    # YAML or JSON, name -> rule: what differs from the default policy. Only its owner may write it.
    policy_file: Path | None = None

    def checks(self) -> Iterator[Check]:
        """The checks that concern these settings alone."""
        for name, url in (("keystone_url", self.keystone_url), ("keystone_public_url", self.keystone_public_url)):
            fine = not url or (url.startswith(("http://", "https://")) and url.isprintable() and '"' not in url)
            yield Check(not fine, name, "must begin with http:// or https://")
        yield Check(not 0 < self.keystone_timeout <= 60, "keystone_timeout", "must be above 0 and at most 60 seconds")
        yield Check(not 1 <= self.keystone_cache_seconds <= 3600, "keystone_cache_seconds", "must be 1 to 3600")
        yield Check(not 1 <= self.keystone_cache_tokens <= 100000, "keystone_cache_tokens", "must be 1 to 100000")
        yield Check(not all(self.keystone_service_roles), "keystone_service_roles", "a role must not be empty")
