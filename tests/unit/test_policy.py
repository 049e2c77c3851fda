"""The rules: their language, their defaults, the file that changes them, and that no operation is without one."""

import importlib
import itertools
from pathlib import Path
from typing import Any

import pytest

import nbdsvc.api  # noqa: F401 (before any import of FastAPI)
from nbdsvc import errors
from nbdsvc.api import strict
from nbdsvc.api.resources import MODULES
from nbdsvc.policy import file
from nbdsvc.policy.defaults import DEFAULTS
from nbdsvc.policy.language import BadRule, Credentials, compile_rules
from nbdsvc.policy.operations import ACTIONS, OPERATIONS, rule_of, rule_of_action
from nbdsvc.policy.policy import Policy

# Rule -> the least role that it lets in: those of Cinder 29, and our own.
EXPECTED = dict(line.split("\t") for line in (Path(__file__).parents[1] / "policy_rules.tsv").read_text().splitlines())
# As Keystone's tokens have them: each role has the lesser ones too.
ROLES = ["reader", "member", "manager", "admin"]
AIDS = {"context_is_admin", "admin_api", "xena_system_admin_or_project_reader", "xena_system_admin_or_project_member"}


def _routes() -> list[Any]:
    names = dict.fromkeys(itertools.chain.from_iterable(MODULES.values()))
    return [route for name in names for route in importlib.import_module(f"nbdsvc.api.{name}").router.routes]


def _actions(route: Any) -> list[str]:
    """The actions that the OpenAPI document has of the route."""
    schema = route.openapi_extra["requestBody"]["content"]["application/json"]["schema"]
    return [each["required"][0] for each in schema["oneOf"]]


def test_every_operation_has_one_rule_and_every_rule_an_operation() -> None:
    """The table is as long as the routes and the actions of their bodies are many; each rule has a default."""
    served, acted = set(), set()
    for route in _routes():
        assert type(route) is strict._Route, route.path
        if route.path.endswith("/action"):
            acted |= {f"{route.path} {action}" for action in _actions(route)}
        else:
            served |= {f"{method} {route.path}" for method in route.methods}
    assert served == set(OPERATIONS)
    assert acted == set(ACTIONS)
    used = {*OPERATIONS.values(), *ACTIONS.values(), "volume:force_delete"}
    assert used == set(DEFAULTS) - AIDS


def test_a_route_without_a_rule_is_not_served() -> None:
    """It is an error when the route is made, not an open door."""
    with pytest.raises(LookupError, match="GET /unheard-of"):
        strict.router("x").get("/unheard-of")(lambda: None)
    with pytest.raises(LookupError, match="os-unheard-of"):
        rule_of_action("/volumes/{id}/action", "os-unheard-of")
    assert rule_of("POST", "/volumes/{id}/action") is None


def _author(role: str | None, project: str = "p") -> Credentials:
    roles = frozenset(ROLES[: ROLES.index(role) + 1] if role else ())
    author = Credentials(roles, project)
    return Credentials(roles, project, Policy().is_administrator(author))


@pytest.mark.parametrize("role", [None, *ROLES])
def test_the_defaults_let_in_who_they_should(role: str | None) -> None:
    """Every rule, for each role, in its project and in another one's."""
    assert set(EXPECTED) == set(DEFAULTS) - AIDS
    policy, author = Policy(), _author(role)
    for rule, least in EXPECTED.items():
        assert policy.allows(rule, author, "p") is (least in author.roles), rule
        assert policy.allows(rule, author, "another") is (role == "admin"), rule


MEANT = [
    ("", True), ("@", True), ("!", False), ("not !", True), ("NOT @", False), ("role:member", True), ("role:MEMBER", True),
    ("role:admin", False), ("project_id:%(project_id)s", True), ("is_admin:True", False), ("is_admin:False", True),
    ("role:admin or role:member", True), ("role:admin AND role:member", False), ("! and ! or @", True),
    ("@ or ! and !", True), ("! and (! or @)", False), ("not ! and !", False), ("not (! and !)", True), ("rule:a", True),
    ("( role:member and project_id:%(project_id)s)", True), ("(((@)))", True), ("not not @", True),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MEANT)
def test_what_a_rule_means(text: str, expected: bool) -> None:
    """Roles without regard to case; `and` binds more than `or`, `not` more than both."""
    rules = compile_rules({"x": text, "a": "role:member"})
    assert rules["x"](Credentials(frozenset({"member"}), "p"), "p") is expected


MEANINGLESS = {
    "role:a or": "ends where",
    "and role:a": "'and' is no check",
    "role:a role:b": "'role:b' was not expected",
    "(role:a": "not closed",
    "role:a)": "')' was not expected",
    "not": "ends where",
    "()": "')' is no check",
    "role:": "is no check",
    "role:%(role)s": "is no check",
    "admin": "is no check",
    "is_admin:yes": "is no check",
    "project_id:p": "is no check",
    "system_scope:all": "is no check",
    "user_id:%(user_id)s": "is no check",
    "http://example.org/check": "is no check",
    "rule:b": "no rule 'b'",
    "rule:x": "refers to itself: x -> x",
    "(" * 60 + "@" + ")" * 60: "nested",
    "not " * 60 + "@": "nested",
    "@" + " or @" * 1000: "longer",
}


@pytest.mark.parametrize(("text", "reason"), MEANINGLESS.items())
def test_a_rule_without_a_meaning_is_refused(text: str, reason: str) -> None:
    """With a reason that says where; never taken for a rule that lets everybody in."""
    with pytest.raises(BadRule) as caught:
        compile_rules({"x": text})
    assert reason in str(caught.value)
    assert caught.value.name == "x"


def test_circles_and_long_ways_are_refused() -> None:
    """A circle of several rules, and a chain longer than anybody writes, in whatever order they stand."""
    with pytest.raises(BadRule, match="refers to itself"):
        compile_rules({"a": "rule:b", "b": "not rule:c", "c": "@ or rule:a"})
    chain = {f"r{n}": f"rule:r{n + 1}" for n in range(60)} | {"r60": "@"}
    for order in (chain, dict(reversed(chain.items()))):
        with pytest.raises(BadRule, match="levels deep"):
            compile_rules(order)


def _load(tmp_path: Path, text: str, mode: int = 0o600) -> Policy:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    path.chmod(mode)
    return file.load(path)


def test_a_file_changes_the_rules_that_it_names(tmp_path: Path) -> None:
    """YAML and JSON, with a rule of the operator's own; the others stay as they are."""
    yaml = '# ours\n"auditor": "role:auditor"\n"volume:get": "rule:auditor or rule:admin_api"\nvolume:delete: "!"\n'
    json = '{\n\t"auditor": "role:auditor",\n\t"volume:get": "rule:auditor or rule:admin_api",\n\t"volume:delete": "!"\n}\n'
    for text in (yaml, json):
        policy = _load(tmp_path, text)
        auditor = Credentials(frozenset({"auditor"}), "p")
        assert policy.allows("volume:get", auditor, "p")
        assert not policy.allows("volume:get_all", auditor, "p")
        assert not policy.allows("volume:delete", _author("admin"), "p")
        assert policy.allows("volume:create", _author("member"), "p")
    assert _load(tmp_path, "# nothing\n").allows("volume:get", _author("reader"), "p")


WRONG = {
    '"volume:get": "@"\n"volume:gett": "@"\n': "line 2: volume:gett: no operation has this rule",
    '"volume:get": "@"\n\n"volume:create": "role:a or"\n': "line 3: volume:create: ends where",
    '"volume:get": "rule:missing"\n': "line 1: volume:get: there is no rule 'missing'",
    '"volume:get": "rule:a"\na: "rule:b"\nb: "rule:a"\n': "refers to itself: ",
    '"volume:get": "@"\n"volume:get": "!"\n': "line 2: volume:get: the rule stands already in line 1",
    '"volume:get": ["role:a"]\n': "line 1: volume:get: a rule must be one text",
    '"volume:get": {a: b}\n': "line 1: volume:get: a rule must be one text",
    "- a\n": "must be a mapping",
    '"volume:get: "@"\n': "line 1",
    "a: b: c\n": "line 1",
    "\x00": "not YAML",
    "[" * 5000: "not YAML",
}


@pytest.mark.parametrize(("text", "reason"), WRONG.items(), ids=range(len(WRONG)))
def test_a_fault_of_the_file_is_named_by_its_line(tmp_path: Path, text: str, reason: str) -> None:
    """The setting, the file, the line and the rule: the service does not start."""
    with pytest.raises(errors.ConfigError) as caught:
        _load(tmp_path, text)
    assert reason in str(caught.value)
    assert str(tmp_path / "policy.yaml") in str(caught.value)


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """Who writes it is an administrator of everything. It may be read: it has no secret."""
    with pytest.raises(errors.ConfigError, match="writable by others"):
        _load(tmp_path, "volume:get: '@'\n", 0o666)
    assert _load(tmp_path, "volume:get: '@'\n", 0o644)
    with pytest.raises(errors.ConfigError, match="FileNotFoundError"):
        file.load(tmp_path / "none.yaml")


def test_a_rule_of_a_file_may_not_be_too_large(tmp_path: Path) -> None:
    """A file larger than any policy is not read to its end."""
    with pytest.raises(errors.ConfigError, match="larger than"):
        _load(tmp_path, "#" * (1 << 21))
