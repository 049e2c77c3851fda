"""ConfigError: the administrator's fault, a setting is wrong. InternalError: a bug of nbdsvc."""

from nbdsvc.errors.base import Error


class ConfigError(Error):
    """A setting is wrong. Facts: setting, reason."""

    template = "Setting {setting}: {reason}"
    outside = "The service is not set up for this."
    setting: str
    reason: str


class InternalError(Error):
    """A bug of nbdsvc. Facts: reason."""

    template = "Internal error: {reason}"
    outside = "An internal error happened; it was logged."
    reason: str
