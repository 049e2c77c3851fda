"""The context of a request: user, project and roles."""

from dataclasses import dataclass, field

ADMIN, MANAGER, MEMBER, READER = "admin", "manager", "member", "reader"
# What each role has besides, as in Keystone (`keystone-manage bootstrap`).
IMPLIED = {ADMIN: {MANAGER, MEMBER, READER}, MANAGER: {MEMBER, READER}, MEMBER: {READER}}


def with_implied(roles: frozenset[str]) -> frozenset[str]:
    """The roles, and those that they imply."""
    return roles.union(*(IMPLIED.get(role, ()) for role in roles))


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


# The context of look-ups without a request: only public resources are visible.
ANONYMOUS = Context("", "", frozenset(), "")
