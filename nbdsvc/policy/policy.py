"""The rules in force: the defaults, and what the operator's file puts in their places."""

from collections.abc import Mapping

from nbdsvc import errors
from nbdsvc.policy.defaults import ADMINISTRATOR, DEFAULTS
from nbdsvc.policy.language import Credentials, compile_rules


class Policy:
    """Decides by rules.

    changed: name -> text of the rules that differ from the defaults, and of those that they refer to.
    """

    def __init__(self, changed: Mapping[str, str] | None = None) -> None:
        """Raises BadRule."""
        self._rules = compile_rules({**DEFAULTS, **(changed or {})})

    def allows(self, rule: str, author: Credentials, project: str) -> bool:
        """Whether the rule lets the author do this; project: the id of the one that the request concerns."""
        return self._rules[rule](author, project)

    def is_administrator(self, author: Credentials) -> bool:
        """Whether the author sees every project and the storage's own facts (rule context_is_admin)."""
        return self.allows(ADMINISTRATOR, author, author.project_id)


class Permissions:
    """What the author of one request may do."""

    def __init__(self, policy: Policy, author: Credentials, project: str) -> None:
        self._policy = policy
        self._author = author
        self._project = project

    def allows(self, rule: str, project: str | None = None) -> bool:
        """project: of what the request concerns, the request's own by default."""
        return self._policy.allows(rule, self._author, project or self._project)

    def enforce(self, rule: str, project: str | None = None) -> None:
        """Raise Forbidden, which names the rule, in Cinder's words."""
        if not self.allows(rule, project):
            raise errors.Forbidden(reason=f"Policy doesn't allow {rule} to be performed.")
