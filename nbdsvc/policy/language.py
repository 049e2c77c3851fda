"""The language of rules: the subset of oslo.policy's that is documented in docs/identity.md, compiled to functions.

check   :  "rule:" NAME  |  "role:" NAME  |  "is_admin:" ("True" | "False")  |  "project_id:%(project_id)s"
        |  "@" (always)  |  "!" (never)  |  "(" or ")"  |  "not" check
and     :  check ("and" check)*
or      :  and ("or" and)*           a text without a check is "@", as in oslo.policy
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

# Characters of a rule, and levels of parentheses and of rules that refer to rules: no rule of a person comes near.
_MOST_TEXT, _MOST_DEPTH = 4096, 50
# A word may have the parentheses of %(project_id)s in it.
_WORD = re.compile(r"[()]|(?:%\(\w*\)s|[^\s()])+")
_OWN_PROJECT = "%(project_id)s"
_KNOWN = "rule:NAME, role:NAME, is_admin:True, project_id:%(project_id)s, @ and !"


@dataclass(frozen=True)
class Credentials:
    """The author of a request as rules see it. `roles` are in lower case, in which oslo.policy compares them."""

    roles: frozenset[str]
    project_id: str
    is_admin: bool = False


# Called with the author and the id of the project that the request concerns.
Check = Callable[[Credentials, str], bool]


class BadRule(Exception):
    """A rule that has no meaning."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(reason)


def compile_rules(texts: Mapping[str, str]) -> dict[str, Check]:
    """The rules as functions. Raises BadRule for a fault of the language, an unknown reference or a circle of them."""
    compiled: dict[str, Check] = {}
    references = {}
    for name, text in texts.items():
        parser = _Parser(name, text, compiled)
        compiled[name] = parser.rule()
        references[name] = parser.references
    known: dict[str, int] = {}
    for name in texts:
        _depth(name, references, (), known)
    return compiled


def references_of(name: str, text: str) -> frozenset[str]:
    """The rules that the text refers to. Raises BadRule."""
    parser = _Parser(name, text, {})
    parser.rule()
    return frozenset(parser.references)


def _depth(name: str, references: Mapping[str, set[str]], path: tuple[str, ...], known: dict[str, int]) -> int:
    """How many levels of references the rule has. Raises BadRule for the first rule of the path."""
    if name in known:
        return known[name]
    first = path[0] if path else name
    if name in path:
        raise BadRule(first, f"refers to itself: {' -> '.join([*path, name])}")
    depth = 0
    for other in sorted(references[name]) if len(path) <= _MOST_DEPTH else ():
        if other not in references:
            raise BadRule(name, f"there is no rule {other!r} to refer to")
        depth = max(depth, 1 + _depth(other, references, (*path, name), known))
    if depth > _MOST_DEPTH or len(path) > _MOST_DEPTH:
        raise BadRule(first, f"refers to rules that refer to rules, more than {_MOST_DEPTH} levels deep")
    known[name] = depth
    return depth


class _Parser:
    def __init__(self, name: str, text: str, compiled: Mapping[str, Check]) -> None:
        self._name = name
        self._compiled = compiled
        if len(text) > _MOST_TEXT:
            raise BadRule(name, f"is longer than {_MOST_TEXT} characters")
        self._words = _WORD.findall(text)
        self._depth = 0
        self.references: set[str] = set()

    def rule(self) -> Check:
        if not self._words:
            return _always
        found = self._either()
        if self._words:
            raise BadRule(self._name, f"{self._words[0]!r} was not expected there")
        return found

    def _either(self) -> Check:
        checks = [self._all()]
        while self._takes("or"):
            checks.append(self._all())
        return checks[0] if len(checks) == 1 else lambda author, project: any(each(author, project) for each in checks)

    def _all(self) -> Check:
        checks = [self._one()]
        while self._takes("and"):
            checks.append(self._one())
        return checks[0] if len(checks) == 1 else lambda author, project: all(each(author, project) for each in checks)

    def _one(self) -> Check:
        if not self._words:
            raise BadRule(self._name, "ends where a check was expected")
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise BadRule(self._name, f"is nested more than {_MOST_DEPTH} levels deep")
        found = self._negated() if self._takes("not") else self._group() if self._takes("(") else self._check()
        self._depth -= 1
        return found

    def _negated(self) -> Check:
        inner = self._one()
        return lambda author, project: not inner(author, project)

    def _group(self) -> Check:
        inner = self._either()
        if not self._takes(")"):
            raise BadRule(self._name, "a parenthesis is not closed")
        return inner

    def _other(self, rule: str, author: Credentials, project: str) -> bool:
        """Looked up when it is called: it may be compiled after the one that refers to it."""
        return self._compiled[rule](author, project)

    def _takes(self, word: str) -> bool:
        if self._words and self._words[0].lower() == word:
            self._words.pop(0)
            return True
        return False

    def _check(self) -> Check:
        word = self._words.pop(0)
        kind, _, value = word.partition(":")
        if word in ("@", "!"):
            return _always if word == "@" else _never
        if kind == "rule" and value:
            self.references.add(value)
            return partial(self._other, value)
        if kind == "role" and value and "%" not in value:
            return lambda author, _project: value.lower() in author.roles
        if kind == "is_admin" and value in ("True", "False"):
            return lambda author, _project: author.is_admin is (value == "True")
        if kind == "project_id" and value == _OWN_PROJECT:
            return lambda author, project: author.project_id == project
        raise BadRule(self._name, f"{word!r} is no check; checks are {_KNOWN}")


def _always(_author: Credentials, _project: str) -> bool:
    return True


def _never(_author: Credentials, _project: str) -> bool:
    return False
