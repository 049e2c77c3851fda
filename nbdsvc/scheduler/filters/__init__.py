"""The filters that decide which pools can take a volume, in this order. Each is a pure function of one pool."""

from nbdsvc.scheduler.filters.availability_zone import AVAILABILITY_ZONE
from nbdsvc.scheduler.filters.backend_state import BACKEND_STATE
from nbdsvc.scheduler.filters.capabilities import CAPABILITIES
from nbdsvc.scheduler.filters.capacity import CAPACITY
from nbdsvc.scheduler.filters.driver import DRIVER
from nbdsvc.scheduler.filters.filter import Filter
from nbdsvc.scheduler.filters.ignore_attempted import IGNORE_ATTEMPTED
from nbdsvc.scheduler.filters.nearness import DIFFERENT_BACKEND, INSTANCE_LOCALITY, SAME_BACKEND
from nbdsvc.scheduler.filters.qos import QOS
from nbdsvc.scheduler.filters.reachable import REACHABLE

__all__ = ["CAPABILITIES", "CAPACITY", "FILTERS", "NEARNESS", "QOS", "Filter"]

# The filters for scheduler hints.
NEARNESS = (SAME_BACKEND, DIFFERENT_BACKEND, INSTANCE_LOCALITY)

# Capacity is last, so that a pool that it refuses could take a smaller volume.
FILTERS = (
    AVAILABILITY_ZONE,
    BACKEND_STATE,
    REACHABLE,
    IGNORE_ATTEMPTED,
    CAPABILITIES,
    QOS,
    *NEARNESS,
    DRIVER,
    CAPACITY,
)
