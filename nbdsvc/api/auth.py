"""Who a request comes from: noauth (`user:project` as token, everybody an administrator) or static tokens."""

import hmac
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nbdsvc import errors
from nbdsvc.model.context import ADMIN, MEMBER, READER, Context

_ROLES = frozenset({ADMIN, MEMBER, READER})


class Authenticator(Protocol):
    def identify(self, headers: Mapping[str, str], project: str | None, request_id: str) -> Context:
        """The request's author, or Unauthorized. `project`: the one in the path, if there is one."""


class NoAuth:
    """Trusts everybody who can connect: for one's own machine."""

    def identify(self, headers: Mapping[str, str], project: str | None, request_id: str) -> Context:
        user, _, token_project = headers.get("x-auth-token", "").partition(":")
        chosen = project or headers.get("x-project-id") or token_project or "admin"
        return Context(chosen, headers.get("x-user-id") or user or "admin", frozenset({ADMIN, MEMBER}), request_id)


@dataclass(frozen=True)
class Token:
    project: str
    user: str
    roles: frozenset[str]
    token: str = field(repr=False)


class StaticTokens:
    """Tokens from a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self._tokens = _load(path)

    def identify(self, headers: Mapping[str, str], project: str | None, request_id: str) -> Context:
        given = headers.get("x-auth-token", "").encode()
        found = None
        for token in self._tokens:  # every one is compared, so that the time tells nothing
            if hmac.compare_digest(token.token.encode(), given):
                found = token
        if found is None:
            raise errors.Unauthorized(reason="The request needs a valid X-Auth-Token.")
        if project is not None and project != found.project and ADMIN not in found.roles:
            raise errors.InvalidInput(field="project_id", value=project, reason="it is not the token's project")
        return Context(project or found.project, found.user, found.roles, request_id)


def _load(path: Path) -> list[Token]:
    try:
        if path.stat().st_mode & 0o077:
            raise errors.ConfigError(setting="tokens_file", reason=f"{path} must not be readable by others (chmod 600)")
        entries = tomllib.loads(path.read_text()).get("tokens", {})
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise errors.ConfigError(setting="tokens_file", reason=f"{path}: {type(error).__name__}") from error
    return [_token(name, entry) for name, entry in entries.items()]


def _token(name: str, entry: dict[str, object]) -> Token:
    roles = entry.get("roles", [MEMBER])
    token = str(entry.get("token", ""))
    if not isinstance(roles, list) or not set(roles) <= _ROLES:
        raise errors.ConfigError(setting=f"tokens.{name}.roles", reason=f"must be of {', '.join(sorted(_ROLES))}")
    if len(token) < 16:
        raise errors.ConfigError(setting=f"tokens.{name}.token", reason="must have at least 16 characters")
    return Token(str(entry.get("project", "admin")), str(entry.get("user", name)), frozenset(roles), token)
