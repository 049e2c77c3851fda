"""ConfigError and Replaced: the administrator's fault, a setting is wrong, or another version waits for a restart.
InternalError: a bug of nbdsvc.
"""

from nbdsvc.errors.base import Error


class ConfigError(Error):
    """A setting is wrong. Facts: setting, reason."""

    template = "Setting {setting}: {reason}"
    outside = "The service is not set up for this."
    setting: str
    reason: str


class Replaced(Error):
    """Another version of nbdsvc was installed since this process started, which goes on as it was. Facts: module."""

    template = "nbdsvc was replaced by another version while it ran: restart the service ({module} was to be loaded)"
    outside = "The service is being upgraded. Try again later."
    module: str


class InternalError(Error):
    """A bug of nbdsvc. Facts: reason."""

    template = "Internal error: {reason}"
    outside = "An internal error happened; it was logged."
    reason: str
