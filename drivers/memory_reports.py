"""What the simulator reports beside its statistics: functions that suit it, and properties of a vendor."""

from collections.abc import Mapping

from nbdsvc.driver import Property, prefixed_property


class SimulatedReports:
    """A part of the simulator."""

    vendor: str | None
    _defaults: tuple[str | None, str | None]

    def get_default_filter_function(self) -> str | None:
        """The option `default_filter_function`."""
        return self._defaults[0]

    def get_default_goodness_function(self) -> str | None:
        """The option `default_goodness_function`."""
        return self._defaults[1]

    def init_vendor_properties(self) -> tuple[Mapping[str, Property], str]:
        """A delay that the option `vendor` puts its name before; none without a vendor. It delays nothing."""
        name = prefixed_property(self.vendor, "delay")
        delay = Property("Delay", "Milliseconds of each request.", "integer", default=0, minimum=0, maximum=1000)
        return ({name: delay} if name else {}), self.vendor or ""
