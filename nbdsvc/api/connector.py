"""The connector of a request: the description of an initiator, as os-brick makes it; most fields are kept unchecked."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from nbdsvc.api.request import Key

# Fields that go into columns of text.
_TEXT_REASON = "must be text of at most 255 characters"
_CONNECTOR_TEXT = ("host", "mountpoint", "initiator", "instance", "mode")


def _check_connector(connector: dict[str, Any]) -> dict[str, Any]:
    """A ValidationError names each field that is no text of at most 255 characters, and an unknown mode."""
    wrong = [(key, _TEXT_REASON) for key in _CONNECTOR_TEXT if not _is_text(connector.get(key))]
    if not wrong and connector.get("mode") not in (None, "rw", "ro"):
        wrong = [("mode", "must be rw or ro")]
    if wrong:
        found = [
            InitErrorDetails(type=PydanticCustomError("connector", "{reason}", {"reason": reason}), loc=(key,),
                             input=connector[key])
            for key, reason in wrong
        ]  # fmt: skip
        raise ValidationError.from_exception_data("connector", found)
    return connector


def _is_text(value: Any) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= 255)


Connector = Annotated[dict[Key, Any], Field(max_length=64), AfterValidator(_check_connector)]
# Older clients send a host's name, which describes no initiator.
AnyConnector = Annotated[Connector | None, BeforeValidator(lambda given: None if isinstance(given, str) else given)]
