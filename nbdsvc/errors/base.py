"""What every error has: facts, a message made of them, and the message for users."""

from typing import Any, ClassVar


class Error(Exception):
    """Base of all errors of nbdsvc. Make only its leaves, with every fact that the template names.

    Facts must be JSON values, for they are kept in the journal, and never secrets.
    """

    template: ClassVar[str] = "{reason}"
    # Where facts are the storage host's (commands, paths, names of pools and hosts): the message for users, without these.
    outside: ClassVar[str] = ""

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        for name, value in facts.items():
            setattr(self, name, value)
        super().__init__(self.template.format(**facts))

    def message_for_user(self, *, everything: bool) -> str:
        """The message: with every fact for an administrator, else without those of the storage host."""
        return str(self) if everything or not self.outside else self.outside.format(**self.facts)
