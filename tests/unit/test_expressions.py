"""The language of filter and goodness functions, against Python as the oracle."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdsvc import errors
from nbdsvc.scheduler.expressions import parsing
from nbdsvc.scheduler.expressions.expression import compile_expression

VARIABLES: dict[str, dict[str, Any]] = {
    "stats": {"total_capacity_gb": 100.5, "volume_backend_name": "fast", "QoS_support": True, "total_volumes": 3},
    "capabilities": {"tier": "gold"},
    "volume": {"size": 10},
    "extra": {"iops": "500", "label": "x"},
    "qos": {},
}


def value(text: str) -> Any:
    return compile_expression(text, "filter_function").value(VARIABLES)


@pytest.mark.row("S078")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4 / 2", 5),
        ("2 ^ 3 ^ 2", 512),
        ("-2 ^ 2", -4),
        ("2 ^ -1", 0.5),
        ("7 / 2", 3.5),
        ("0.1 + 0.2", 0.1 + 0.2),
        ("1e3", 1000),
        ("abs(-1.5)", 1.5),
        ("max(1, 2, volume.size)", 10),
        ("min(3, 2)", 2),
        ("- - + 1", 1),
        ("volume.size < 20 and stats.total_volumes < 5 and 0", 0),
        ("1 and 1 AND 1 && 1 & 1", 1),
        ("0 or 0 OR 0 || 0 | 7", 7),
        ("0 or 0 or 1 or 0", 1),
        ("1 or 0 and 0", 1),
        ("not 1", False),
        ("NOT 0", True),
        ("!0", True),
        ("not 1 > 2", True),
        ("!(1 > 2) and 5", 5),
        ("1 < 2 < 3", True),
        ("3 > 2 > 2", False),
        ("1 <> 2", True),
        ("1 != 1", False),
        ("2 >= 2 and 2 <= 2 and 2 == 2", True),
        ("volume.size > 5 ? 80 : 20", 80),
        ("0 ? 1 : 0 ? 2 : 3", 3),
        ("1 and 0 ? 1 : 2", 2),
        ("capabilities.tier == 'gold'", True),
        ('stats.volume_backend_name != "slow"', True),
        ("'a' < 'b'", True),
        ("'1' == 1", False),
        ("extra.iops / 2", 250),
        ("stats.QoS_support + 1", 2),
        ("0 and extra.none", 0),
        ("1 ? 5 : extra.none", 5),
        ("(volume.size\n < 20)", True),
    ],
)
def test_an_expression_has_the_value_that_it_seems_to_have(text: str, expected: Any) -> None:
    """Every operator, spelling and function; chains of any length; texts of extra specs that are numbers count as such."""
    assert value(text) == expected


_OPERATORS = "? : or OR || | and AND && & not NOT ! < <= > >= == != <> + - * / ^ abs( max( min( stats. capabilities. volume. extra."


@pytest.mark.parametrize("operator", _OPERATORS.split())
def test_every_operator_has_a_case(operator: str) -> None:
    """Every operator, function and kind of variable that docs/scheduler.md names stands in an expression above."""
    (marked,) = (
        mark for mark in test_an_expression_has_the_value_that_it_seems_to_have.pytestmark if mark.name == "parametrize"
    )
    spaced = operator if operator[-1] in "(.!" else f" {operator} "
    assert any(spaced in f" {text}" for text, _expected in marked.args[1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "column 1: something is missing at the end"),
        ("1 +", "column 4: something is missing at the end"),
        ("1 = 2", "column 3: '=' is not expected here"),
        ("size > 3", "column 1: 'size' is not expected here: variables are written like volume.size"),
        ("1 ++", "column 5"),
        ("1 2", "column 3: '2' is not expected here"),
        ("(1", "column 3"),
        ("max()", "column 5"),
        ("abs(1, 2)", "column 1: abs has one argument, not 2"),
        ("1 < volume.sise", "column 5: there is no volume.sise; volume has availability_zone, multiattach, size"),
        ("1 + stats.none", "column 5: there is no stats.none"),
        ("os.system", "column 1: there is no os.system: variables are of capabilities, extra, qos, stats, volume"),
        ("volume.size.x", "column 12"),
        ("'open", "column 1"),
        ("9" * 400, "column 1: the number is too large"),
        ("1" * 5000, "5000 characters"),
        ("(" * 60 + "1" + ")" * 60, "nested more than 50 times"),
        ("-" * 100 + "1", "nested more than 50 times"),
        ("+".join("1" * 1100), "more than 1000 parts"),
    ],
)
def test_a_wrong_expression_is_refused_with_its_column(text: str, reason: str) -> None:
    """A syntax error, an unknown name or too large an expression is a ConfigError that names the setting."""
    with pytest.raises(errors.ConfigError) as raised:
        compile_expression(text, "backends.fast.options.filter_function")
    assert "backends.fast.options.filter_function" in str(raised.value)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 / 0", "division by zero"),
        ("1 / (volume.size - 10)", "division by zero"),
        ("9 ^ 9 ^ 9", "is no number"),
        ("(-1) ^ 0.5", "is no number"),
        ("1e308 * 10", "too large"),
        ("1 < 'a'", "compares a number with a text"),
        ("extra.label + 1", "'x' is a text, and a number is needed"),
        ("extra.none > 1", "there is no extra.none"),
        ("qos.maxIOPS > 1", "there is no qos.maxIOPS"),
    ],
)
def test_an_expression_without_a_value_is_an_error_of_its_own(text: str, reason: str) -> None:
    """Division by zero, overflow, mixed types and names that this type or backend lacks are a ConfigError with the reason."""
    with pytest.raises(errors.ConfigError, match=reason):
        value(text)


# (text of ours, text of Python)
_NUMBERS = st.one_of(
    st.integers(0, 1000).map(lambda n: (str(n), f"{n}.0")),
    st.floats(0, 1000, allow_subnormal=False).map(lambda n: (f"{n:.3f}", f"{n:.3f}")),
    st.just(("volume.size", "10.0")),
)


def _compound(inner: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[tuple[str, str]]:
    def joined(signs: list[tuple[str, str]]) -> st.SearchStrategy[tuple[str, str]]:
        parts = st.lists(inner, min_size=2, max_size=4)
        chosen = st.lists(st.sampled_from(signs), min_size=3, max_size=3)
        return st.tuples(parts, chosen).map(lambda drawn: _join(*drawn))

    return st.one_of(
        joined([("+", "+"), ("-", "-")]),
        joined([("*", "*")]),
        joined([(" and ", " and "), (" && ", " and "), (" AND ", " and "), ("&", " and ")]),
        joined([(" or ", " or "), (" || ", " or "), ("|", " or ")]),
        joined([("<", "<"), ("<=", "<="), ("==", "=="), ("<>", "!="), (">=", ">="), ("!=", "!="), (">", ">")]),
        inner.map(lambda each: (f"(not {each[0]})", f"(not {each[1]})")),
        inner.map(lambda each: (f"(-{each[0]})", f"(-{each[1]})")),
        inner.map(lambda each: (f"abs({each[0]})", f"abs({each[1]})")),
        st.lists(inner, min_size=2, max_size=3).map(
            lambda parts: (f"max({', '.join(p[0] for p in parts)})", f"max({', '.join(p[1] for p in parts)})")
        ),
        st.tuples(inner, inner, inner).map(
            lambda t: (f"({t[0][0]} ? {t[1][0]} : {t[2][0]})", f"({t[1][1]} if {t[0][1]} else {t[2][1]})")
        ),
    )


def _join(parts: list[tuple[str, str]], signs: list[tuple[str, str]]) -> tuple[str, str]:
    ours, pythons = parts[0]
    for sign, part in zip(signs, parts[1:], strict=False):
        ours, pythons = ours + sign[0] + part[0], pythons + sign[1] + part[1]
    return f"({ours})", f"({pythons})"


@given(st.recursive(_NUMBERS, _compound, max_leaves=12))
def test_generated_expressions_have_the_value_that_python_gives_them(both: tuple[str, str]) -> None:
    """Arithmetic, logic, comparisons, choices and functions in each other: the value of the same expression in Python."""
    ours, pythons = both
    expected = eval(pythons, {"abs": abs, "max": max, "min": min})
    found = value(ours)
    assert found == expected or math.isclose(found, expected)


_PIECES = st.sampled_from(
    "( ) + - * / ^ ? : , ! & | < > = <> == and or not abs( max( 1 0 2.5 1e9 volume.size stats.x extra.a 'a' \" ' . é".split()
)


@given(st.one_of(st.text(max_size=80), st.lists(_PIECES, max_size=40).map(" ".join), st.lists(_PIECES).map("".join)))
def test_no_text_raises_anything_but_our_error(text: str) -> None:
    """Any text at all is an expression with a value, or a ConfigError."""
    try:
        assert isinstance(value(text), float | bool | str)
    except errors.ConfigError as error:
        assert "filter_function" in str(error)


@given(st.recursive(_NUMBERS, _compound, max_leaves=30))
def test_each_part_is_evaluated_once_at_most(both: tuple[str, str]) -> None:
    """The number of parts, which is bounded, bounds the number of look-ups of an evaluation."""
    text = both[0]
    looked: list[str] = []

    class Counted(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            looked.append(key)
            return super().__getitem__(key)

    node = parsing.parse(text)
    node.value({"volume": Counted(size=10)})
    assert len(looked) <= text.count("volume.size") <= node.size <= parsing.MAX_NODES
