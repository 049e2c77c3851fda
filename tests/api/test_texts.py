"""Texts of errors that clients match on: libraries, command lines and peers' suites read them."""

from typing import Any

import pytest
from asking import UNKNOWN, ask
from serving import ServiceProcess

VOLUMES = "/v3/volumes"


def fault(service: ServiceProcess, method: str, path: str, body: Any = None) -> tuple[int, str, str, dict[str, str]]:
    """Status, name of the envelope, message, headers."""
    status, content, headers = ask(service, method, path, body, OpenStack_API_Version="volume 3.71")
    assert isinstance(content, dict), content
    ((name, envelope),) = content.items()
    assert envelope["code"] == status
    return status, name, envelope["message"], headers


@pytest.mark.parametrize(
    ("method", "path", "body", "name", "text"),
    [
        ("POST", VOLUMES, {"volume": {"size": "x"}}, "badRequest", "Invalid input for field/attribute size. Value: x. "),
        ("POST", VOLUMES, {"volume": {"size": 0}}, "badRequest", "Invalid input for field/attribute size. Value: 0. "),
        ("POST", VOLUMES, {"volume": {"size": -1}}, "badRequest", "Invalid input for field/attribute size. Value: -1. "),
        ("POST", VOLUMES, {"volume": {"size": 1.5}}, "badRequest", "Invalid input for field/attribute size. Value: 1.5. "),
        ("POST", VOLUMES, {"volume": {"size": True}}, "badRequest", "Invalid input for field/attribute size. Value: True. "),
        ("POST", VOLUMES, {"volume": {}}, "badRequest", "Invalid input for field/attribute size."),
        ("POST", VOLUMES, {}, "badRequest", "Invalid input for field/attribute volume."),
        ("POST", VOLUMES, {"volume": {"size": 1, "availability_zone": "nosuch"}}, "badRequest",
         "Availability zone 'nosuch' is invalid."),
        ("POST", VOLUMES, {"volume": {"size": 1, "volume_type": "nosuch"}}, "itemNotFound",
         "Volume type nosuch could not be found."),
        ("GET", f"{VOLUMES}/{UNKNOWN}", None, "itemNotFound", f"Volume {UNKNOWN} could not be found."),
        ("GET", f"/v3/snapshots/{UNKNOWN}", None, "itemNotFound", f"Snapshot {UNKNOWN} could not be found."),
        ("GET", f"/v3/types/{UNKNOWN}", None, "itemNotFound", f"Volume type {UNKNOWN} could not be found."),
        ("GET", f"/v3/attachments/{UNKNOWN}", None, "itemNotFound", f"Volume attachment {UNKNOWN} could not be found."),
        ("GET", f"/v3/messages/{UNKNOWN}", None, "itemNotFound", f"Message {UNKNOWN} could not be found."),
        ("GET", f"{VOLUMES}?colour=red", None, "badRequest", "Invalid filters colour are found in query options."),
        ("POST", f"{VOLUMES}/{UNKNOWN}/action", {"os-extend": {"new_size": "x"}}, "badRequest",
         "Invalid input for field/attribute new_size. Value: x. "),
    ],
)  # fmt: skip
def test_a_fault_has_the_words_that_clients_know(
    shared_service: ServiceProcess, method: str, path: str, body: Any, name: str, text: str
) -> None:
    """The envelope by its name, and in the message Cinder's text with the field, the value and the reason."""
    _, found, message, _ = fault(shared_service, method, path, body)
    assert (found, text in message) == (name, True), message


@pytest.mark.parametrize(
    ("quota", "fields", "text"),
    [
        ({"gigabytes": 1}, {"size": 5}, ("VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed "
         "gigabytes quota. Requested 5G, quota is 1G and 0G has been consumed.")),
        ({"volumes": 0}, {"size": 1}, "VolumeLimitExceeded: Maximum number of volumes allowed (0) exceeded for quota 'volumes'."),
        ({"per_volume_gigabytes": 2}, {"size": 3}, ("VolumeSizeExceedsLimit: Requested volume size 3G is larger than maximum "
         "allowed limit 2G.")),
    ],
)  # fmt: skip
def test_a_quota_is_said_as_the_reference_does(
    shared_service: ServiceProcess, quota: dict[str, int], fields: dict[str, int], text: str
) -> None:
    """Over a quota: 413, overLimit, Retry-After, and Cinder's name and sentence."""
    ask(shared_service, "PUT", "/v3/os-quota-sets/p1", {"quota_set": quota})
    try:
        status, name, message, headers = fault(shared_service, "POST", VOLUMES, {"volume": fields})
    finally:
        ask(shared_service, "DELETE", "/v3/os-quota-sets/p1")
    assert (status, name, message, headers["retry-after"]) == (413, "overLimit", text, "0")


def test_a_refusal_does_not_repeat_what_may_be_secret(shared_service: ServiceProcess) -> None:
    """Objects of a body are not said again in the message: a connector has passwords in it."""
    secret = {"connector": {"auth_password": "hush", "mode": 7}}
    body = {"attachment": {"volume_uuid": UNKNOWN, **secret}}
    assert "hush" not in fault(shared_service, "POST", "/v3/attachments", body)[2]
    for action in ("os-initialize_connection", "os-terminate_connection", "os-force_detach"):
        assert "hush" not in fault(shared_service, "POST", f"{VOLUMES}/{UNKNOWN}/action", {action: secret})[2]
