"""Our rules mean what oslo.policy's do: decided by the real library, of the environment of Keystone and Glance."""

import json
import random
import subprocess
from typing import Any

from wsgi_server import ENVIRONMENT

from nbdsvc.policy.language import Credentials, compile_rules

CASES = 1500
PROGRAM = """
import json, sys
from oslo_config import cfg
from oslo_policy import policy
results = []
for case in json.load(sys.stdin):
    enforcer = policy.Enforcer(cfg.ConfigOpts(), use_conf=False)
    enforcer.set_rules(policy.Rules.from_dict(case["rules"]), overwrite=True, use_conf=False)
    results.append(bool(enforcer.enforce("x", case["target"], case["author"])))
print(json.dumps(results))
"""


def _expression(chance: random.Random, depth: int) -> str:
    kind = chance.choice(["check"] * 4 + ["and", "or", "not", "group"] if depth else ["check"])
    if kind == "check":
        checks = ["@", "!", "role:member", "role:Admin", "role:reader", "is_admin:True", "is_admin:False"]
        return chance.choice([*checks, "project_id:%(project_id)s", "rule:a", "rule:b"])
    if kind in ("and", "or"):
        parts = [_expression(chance, depth - 1) for _ in range(chance.choice([2, 3]))]
        return f" {chance.choice([kind, kind.upper()])} ".join(parts)
    # In oslo.policy `not` takes one check or a group; so does what is written here.
    inner = _expression(chance, depth - 1)
    return f"({inner})" if kind == "group" else f"not ({inner})" if " " in inner else f"not {inner}"


def _case(chance: random.Random) -> dict[str, Any]:
    roles = chance.sample(["member", "ADMIN", "reader", "other"], chance.randrange(4))
    return {
        "rules": {"x": _expression(chance, 3), "a": "role:member and not role:reader", "b": "rule:a or is_admin:True"},
        "author": {"roles": roles, "project_id": chance.choice("pq"), "is_admin": chance.random() < 0.5},
        "target": {"project_id": "p"},
    }


def test_rules_mean_what_they_mean_in_oslo_policy() -> None:
    """Random rules and authors: both say the same of each, and both answers occur often."""
    chance = random.Random(19)
    cases = [_case(chance) for _ in range(CASES)]
    argv = [str(ENVIRONMENT / "bin/python"), "-W", "ignore", "-c", PROGRAM]
    ran = subprocess.run(argv, input=json.dumps(cases), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr[-2000:]
    theirs = json.loads(ran.stdout)
    for case, expected in zip(cases, theirs, strict=True):
        given = case["author"]
        author = Credentials(frozenset(r.lower() for r in given["roles"]), given["project_id"], given["is_admin"])
        assert compile_rules(case["rules"])["x"](author, "p") is expected, case
    assert min(theirs.count(True), theirs.count(False)) > CASES / 5
