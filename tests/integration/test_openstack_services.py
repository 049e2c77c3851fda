"""The real Keystone and the real Glance that other tests build on."""

import pytest
from glance_server import Glance
from keystone_server import USERS, Keystone, rest


@pytest.mark.parametrize("user", sorted(USERS))
def test_a_user_of_each_role_has_a_token(keystone: Keystone, user: str) -> None:
    """Each user has a token with its role, and with the roles that Keystone's bootstrap implies by it."""
    token = keystone.token(user)
    shown = keystone.admin("GET", "auth/tokens", X_Subject_Token=token).content["token"]
    assert USERS[user] in {role["name"] for role in shown["roles"]}
    assert "reader" in {role["name"] for role in shown["roles"]}
    assert shown["project"]["id"] == keystone.projects["demo"]


def test_an_image_is_kept_by_glance(keystone: Keystone, glance: Glance) -> None:
    """A member makes an image and uploads its bytes; a neighbour is refused it; without a token there is nothing."""
    token = keystone.token("member")
    body = {"name": "a", "disk_format": "raw", "container_format": "bare", "visibility": "private"}
    image = rest("POST", f"{glance.url}/v2/images", token, body).content
    assert image["status"] == "queued"
    uploaded = rest(
        "PUT", f"{glance.url}/v2/images/{image['id']}/file", token, [], Content_Type="application/octet-stream"
    )
    assert uploaded.status == 204
    assert rest("GET", f"{glance.url}/v2/images/{image['id']}", token).content["size"] == 2
    assert rest("GET", f"{glance.url}/v2/images/{image['id']}/file", token).content == b"[]"
    neighbour = keystone.token("neighbour", project="other")
    assert rest("GET", f"{glance.url}/v2/images/{image['id']}", neighbour).status == 404
    assert rest("GET", f"{glance.url}/v2/images").status == 401
