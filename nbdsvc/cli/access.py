"""Who authenticates requests, and by which rules they are permitted, as the settings have it."""

from pathlib import Path
from typing import TYPE_CHECKING

from nbdsvc import config

if TYPE_CHECKING:
    from nbdsvc.api.auth import Authenticator
    from nbdsvc.policy.policy import Policy


def authenticator(settings: "config.Settings") -> "Authenticator":
    """Of the kind that is set; Keystone's is loaded only then. Raises ConfigError."""
    from nbdsvc.api.auth import NoAuth, StaticTokens

    if settings.auth == "keystone" and settings.keystone_password_file:
        return _keystone(settings, settings.keystone_password_file)
    return StaticTokens(settings.tokens_file) if settings.auth == "token" and settings.tokens_file else NoAuth()


def policy(settings: "config.Settings") -> "Policy":
    """The rules in force. Raises ConfigError."""
    from nbdsvc.policy.policy import Policy

    if settings.policy_file is None:
        return Policy()
    from nbdsvc.policy import file

    return file.load(settings.policy_file)


def _keystone(settings: "config.Settings", password_file: Path) -> "Authenticator":
    from nbdsvc.identity.client import KeystoneClient, ServiceUser, read_password
    from nbdsvc.identity.tokens import KeystoneTokens

    user = ServiceUser(
        settings.keystone_user,
        settings.keystone_user_domain,
        settings.keystone_project,
        settings.keystone_project_domain,
        read_password(password_file),
    )
    client = KeystoneClient(settings.keystone_url, user, settings.keystone_ca_file, settings.keystone_timeout)
    return KeystoneTokens(
        client,
        public_url=settings.keystone_public_url or settings.keystone_url,
        cache_seconds=settings.keystone_cache_seconds,
        cache_tokens=settings.keystone_cache_tokens,
        service_roles=frozenset(settings.keystone_service_roles),
    )
