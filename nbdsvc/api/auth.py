"""Authenticates requests: noauth (`user:project` as token, every user an administrator) or static tokens.

Keystone's tokens: nbdsvc/identity, which is loaded only where it is set.
"""

import hmac
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from nbdsvc import errors
from nbdsvc.model.context import ADMIN, MANAGER, MEMBER, READER, Context, with_implied

_ROLES = frozenset({ADMIN, MANAGER, MEMBER, READER})
_EVERY_ROLE = with_implied(frozenset({ADMIN}))
_KEYS = frozenset({"token", "project", "user", "roles"})
# Characters: 16 of hexadecimal are 64 bits, beyond guessing over a network.
_TOKEN_LENGTH = 16
# Characters of `user:project`: two ids of Keystone have 64, and its shortest token more than 150.
_NAME_MAX = 140


class Authenticator(Protocol):
    """Finds the sender of a request."""

    # The WWW-Authenticate header of a 401; empty: there is none.
    challenge: str

    async def identify(self, headers: Mapping[str, str], project: str | None, request_id: str) -> Context:
        """The author of the request in the project of its token.

        project: of the path, for those who trust it. Raises Unauthorized, Forbidden, IdentityUnavailable.
        """


class NoAuth:
    """Trusts every client that can connect: for a machine of one's own."""

    challenge = ""

    async def identify(self, headers: Mapping[str, str], project: str | None, request_id: str) -> Context:
        """The user and project that the headers claim, as an administrator."""
        given = headers.get("x-auth-token", "")
        # What is longer than any name is a token of Keystone: it goes to Glance, which judges it, and into no row.
        token = given if len(given) > _NAME_MAX else ""
        user, _, token_project = given.partition(":") if not token else ("", "", "")
        chosen = project or headers.get("x-project-id") or token_project or "admin"
        who = headers.get("x-user-id") or user or "admin"
        return Context(chosen, who, _EVERY_ROLE, request_id, token=token)


@dataclass(frozen=True)
class Token:
    """An entry of the tokens file."""

    project: str
    user: str
    roles: frozenset[str]
    token: str = field(repr=False)


class StaticTokens:
    """Tokens from a file that only its owner can read."""

    challenge = ""

    def __init__(self, path: Path) -> None:
        self._tokens = _load(path)

    async def identify(self, headers: Mapping[str, str], project: str | None, request_id: str) -> Context:
        """The user of the token in its project. Raises Unauthorized for an unknown one."""
        given = headers.get("x-auth-token", "").encode()
        found = None
        for token in self._tokens:  # all are compared, so that the time reveals nothing
            if hmac.compare_digest(token.token.encode(), given):
                found = token
        if found is None:
            raise errors.Unauthorized(reason="The request needs a valid X-Auth-Token.")
        return Context(found.project, found.user, with_implied(found.roles), request_id)


def _load(path: Path) -> list[Token]:
    try:
        if path.stat().st_mode & 0o077:
            raise errors.ConfigError(setting="tokens_file", reason=f"{path} must not be readable by others (chmod 600)")
        entries = tomllib.loads(path.read_text()).get("tokens", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise errors.ConfigError(setting="tokens_file", reason=f"{path}: {type(error).__name__}") from error
    if not isinstance(entries, dict):
        raise errors.ConfigError(setting="tokens_file", reason=f"{path}: tokens must be tables, [tokens.NAME]")
    tokens = [_token(name, entry) for name, entry in entries.items()]
    if len({token.token for token in tokens}) < len(tokens):
        raise errors.ConfigError(setting="tokens_file", reason=f"{path}: two entries have the same token")
    return tokens


def _token(name: str, entry: Any) -> Token:
    """An entry as a Token. Refuses an empty project or role, which would grant more than intended."""
    given = {"project": "admin", "user": name, "roles": [MEMBER], **(entry if isinstance(entry, dict) else {})}
    roles, token = given["roles"], given.get("token")
    texts = [value for value in (given["project"], given["user"]) if isinstance(value, str) and value]
    for wrong, key, reason in (
        (not isinstance(entry, dict), "token", "must be in a table, [tokens.NAME]"),
        (not isinstance(token, str) or len(token) < _TOKEN_LENGTH, "token", f"must be text of {_TOKEN_LENGTH} or more"),
        (len(texts) < 2, "project", "and user must be text, and not empty"),
        (not _is_roles(roles), "roles", f"must be one or more of {', '.join(sorted(_ROLES))}"),
        (bool(set(given) - _KEYS), "token", f"has keys that are none: {', '.join(sorted(set(given) - _KEYS))}"),
    ):
        if wrong:
            raise errors.ConfigError(setting=f"tokens.{name}.{key}", reason=reason)
    return Token(texts[0], texts[1], frozenset(roles), str(token))


def _is_roles(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(r, str) and r in _ROLES for r in value)
