"""The service user's credentials, from a file that only its owner can read."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbdsvc import errors

SETTING = "glance_user_file"


@dataclass(frozen=True)
class Credentials:
    """Who the service is in Keystone. auth_url: with /v3; domains by their ids. region, interface: of the catalogue."""

    auth_url: str
    username: str
    password: str = field(repr=False)
    project_name: str = "service"
    user_domain_id: str = "default"
    project_domain_id: str = "default"
    region: str = ""
    interface: str = "public"

    def request(self) -> dict[str, Any]:
        """The body of POST /v3/auth/tokens."""
        user = {"name": self.username, "password": self.password, "domain": {"id": self.user_domain_id}}
        project = {"name": self.project_name, "domain": {"id": self.project_domain_id}}
        identity = {"methods": ["password"], "password": {"user": user}}
        return {"auth": {"identity": identity, "scope": {"project": project}}}


_NAMES = frozenset(Credentials.__dataclass_fields__)
_NEEDED = ("auth_url", "username", "password")


def load(path: Path) -> Credentials:
    """The credentials of the file; ConfigError, which shows none of its values."""
    try:
        if path.stat().st_mode & 0o077:
            raise errors.ConfigError(setting=SETTING, reason=f"{path} must not be readable by others (chmod 600)")
        found = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise errors.ConfigError(setting=SETTING, reason=f"{path}: {type(error).__name__}") from None
    for wrong, reason in (
        (set(found) - _NAMES, f"has keys that are none: {', '.join(sorted(set(found) - _NAMES))}"),
        (set(_NEEDED) - set(found), f"lacks {', '.join(sorted(set(_NEEDED) - set(found)))}"),
        ([key for key, value in found.items() if not isinstance(value, str)], "has values that are no text"),
        (not str(found.get("auth_url", "")).startswith(("http://", "https://")), "auth_url must be an http(s) URL"),
    ):
        if wrong:
            raise errors.ConfigError(setting=SETTING, reason=f"{path} {reason}")
    return Credentials(**found)
