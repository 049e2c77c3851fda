"""A schema as a database has it, and what a change of it takes from a program that does not know the change."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

Table = dict[str, Any]
# What a new table may do with its rows when an older program removes the row that they belong to.
_HARMLESS = ("CASCADE", "SET NULL", "SET DEFAULT")


def read(conn: sa.Connection) -> dict[str, Table]:
    """Its tables by name: columns, primary key, unique sets of columns, foreign keys, checks."""
    found = sa.inspect(conn)
    return {name: _table(found, name) for name in found.get_table_names() if name != "alembic_version"}


def _table(found: sa.Inspector, name: str) -> Table:
    columns = {each["name"]: (str(each["type"]), each["nullable"], each["default"]) for each in found.get_columns(name)}
    unique = {tuple(each["column_names"]) for each in found.get_unique_constraints(name)}
    unique |= {tuple(map(str, each["column_names"])) for each in found.get_indexes(name) if each["unique"]}
    keys = {
        (tuple(each["constrained_columns"]), each["referred_table"], each.get("options", {}).get("ondelete", ""))
        for each in found.get_foreign_keys(name)
    }
    checks = {str(each["sqltext"]) for each in found.get_check_constraints(name)}
    return {"columns": columns, "primary": found.get_pk_constraint(name)["constrained_columns"], "unique": unique,
            "foreign": keys, "checks": checks}  # fmt: skip


def taken(before: dict[str, Table], after: dict[str, Table]) -> list[str]:
    """What a program of the schema `before` cannot do any more with `after`; empty where everything was only added."""
    found = [f"table {name} is gone" for name in before if name not in after]
    for name in before.keys() & after.keys():
        found += [f"{name}: {each}" for each in _taken_from(before[name], after[name])]
    for name in after.keys() - before.keys():
        for columns, other, on_delete in after[name]["foreign"]:
            if other in before and str(on_delete).upper() not in _HARMLESS:
                found.append(f"{name}: its {', '.join(columns)} forbids to remove rows of {other}")
    return sorted(found)


def _taken_from(before: Table, after: Table) -> Iterator[str]:
    for column, (kind, nullable, default) in before["columns"].items():
        now = after["columns"].get(column)
        if now is None:
            yield f"column {column} is gone"
        elif now[0] != kind:
            yield f"column {column} is {now[0]} and was {kind}"
        elif nullable and not now[1]:
            yield f"column {column} must have a value"
        elif default is not None and now[2] is None:
            yield f"column {column} has no default any more"
    for column in after["columns"].keys() - before["columns"].keys():
        _, nullable, default = after["columns"][column]
        if not nullable and default is None:
            yield f"column {column} is new, must have a value and has no default"
    if before["primary"] != after["primary"]:
        yield "its primary key is another one"
    for what in ("unique", "foreign", "checks"):
        for each in sorted(map(str, after[what] - before[what])):
            yield f"a rule is new ({what}): {each}"
