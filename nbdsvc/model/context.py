"""The context of a request: user, project and roles."""

from dataclasses import dataclass, field

ADMIN, MEMBER, READER = "admin", "member", "reader"


@dataclass(frozen=True)
class Context:
    """The author of a request. `request_id` is `req-<uuid>` and goes into every log line and operation."""

    project_id: str
    user_id: str
    roles: frozenset[str]
    request_id: str
    # The token of Keystone that came with the request, for other services; empty for tokens of our own. Never stored.
    token: str = field(default="", repr=False, compare=False)

    @property
    def is_admin(self) -> bool:
        """Whether the user may access the resources of every project."""
        return ADMIN in self.roles

    @property
    def may_write(self) -> bool:
        """Whether the user may change anything."""
        return self.is_admin or MEMBER in self.roles


# The context of look-ups without a request: only public resources are visible.
ANONYMOUS = Context("", "", frozenset(), "")
