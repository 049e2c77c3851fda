"""Plans of operations whose steps are on any host, for tests that draw them."""

from hypothesis import strategies as st
from several_hosts import BACKENDS, HOSTS, Plan, StepPlan
from untyped_operations import COPY, SHORT

PLACES = st.sampled_from([None, *HOSTS, *(f"{host}@{backend}" for host in HOSTS for backend in BACKENDS)])
STEPS = st.builds(StepPlan, PLACES, undo=st.booleans(), copies=st.booleans(), needed=st.booleans())
LOCKS = st.dictionaries(st.sampled_from("ab"), st.booleans(), max_size=2).map(lambda each: tuple(each.items()))
PLANS = st.builds(
    Plan,
    st.sampled_from(HOSTS),
    st.lists(STEPS, min_size=1, max_size=4).map(tuple),
    fails=st.none() | st.integers(0, 3),
    locks=LOCKS,
    lane=st.sampled_from([SHORT, COPY]),
    cancelled=st.none() | st.integers(1, 20),
)
