"""State machines as tests, without what Hypothesis' own TestCase does to CPython 3.11.

`RuleBasedStateMachine.TestCase` names each run by a digest of the class's source: it parses the whole file with ast
inside a deep stack. CPython 3.11 keeps one recursion counter for its AST constructors, which a garbage collection in
the middle of it leaves wrong (gh-106905): "SystemError: AST constructor recursion depth mismatch", once in some runs.
"""

from collections.abc import Callable

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def machine_test(machine: type[RuleBasedStateMachine], settings: settings | None = None) -> Callable[[], None]:
    """A test function that runs the machine; its source is out of the digest's reach, so that none is parsed."""

    def factory() -> RuleBasedStateMachine:
        return machine()

    factory._hypothesis_internal_add_digest = machine.__qualname__.encode()  # type: ignore[attr-defined]

    def test() -> None:
        run_state_machine_as_test(factory, settings=settings)

    test.__doc__ = machine.__doc__
    return test
