"""Default types of projects, the zones of a type, and how lists filter types and times."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from asking import UNKNOWN, ask
from serving import ServiceProcess


class Scene:
    def __init__(self, service: ServiceProcess) -> None:
        self.service, self._made = service, 0

    def ask(self, method: str, path: str, body: Any = None, project: str = "p1") -> tuple[int, Any]:
        headers = {"OpenStack_API_Version": "volume 3.71", "X_Auth_Token": f"t:{project}"}
        return ask(self.service, method, f"/v3/{path}", body, **headers)[:2]

    def kind(self, **fields: Any) -> tuple[str, str]:
        """Name and id of a new type."""
        self._made += 1
        body = {"volume_type": {"name": f"type{self._made}", **fields}}
        made = self.ask("POST", "types", body)[1]["volume_type"]
        return made["name"], made["id"]

    def choose(self, project: str, named: str) -> tuple[int, Any]:
        return self.ask("PUT", f"default-types/{project}", {"default_type": {"volume_type": named}})

    def create(self, project: str = "p1", **fields: Any) -> tuple[int, Any]:
        return self.ask("POST", "volumes", {"volume": {"size": 1, **fields}}, project)

    def names(self, query: str) -> set[str]:
        status, content = self.ask("GET", f"volumes?{query}")
        assert status == 200, content
        return {each["name"] for each in content["volumes"]}


@pytest.fixture(scope="module")
def scene(module_service: Callable[..., ServiceProcess]) -> Iterator[Scene]:
    return Scene(module_service(driver="memory"))


PRIVATE = {"os-volume-type-access:is_public": False}


def test_a_project_s_own_default_type(scene: Scene) -> None:
    """Set by id or name, shown, listed, used where a request names no type, also as types/default, and unset."""
    name, id = scene.kind()
    assert scene.ask("GET", "default-types/d1")[0] == 404
    assert scene.choose("d1", name) == (200, {"default_type": {"project_id": "d1", "volume_type_id": id}})
    assert scene.choose("d1", id)[0] == 200
    assert scene.ask("GET", "default-types/d1") == (200, {"default_type": {"project_id": "d1", "volume_type_id": id}})
    for path in ("default-types", "default-types/", "d1/default-types"):
        assert {"project_id": "d1", "volume_type_id": id} in scene.ask("GET", path)[1]["default_types"]
    assert scene.create("d1")[1]["volume"]["volume_type"] == name
    assert scene.create("d1", volume_type="__DEFAULT__")[1]["volume"]["volume_type"] == "__DEFAULT__"
    assert scene.create("d2")[1]["volume"]["volume_type"] == "__DEFAULT__"
    assert scene.ask("GET", "types/default", project="d1")[1]["volume_type"]["id"] == id
    assert scene.ask("DELETE", "default-types/d1") == (204, None)
    assert scene.ask("DELETE", "default-types/d1")[0] == 404
    assert scene.create("d1")[1]["volume"]["volume_type"] == "__DEFAULT__"


def test_what_a_default_type_cannot_be(scene: Scene) -> None:
    """No type, a private one of others, an encrypted one; and while it is the default it stays usable."""
    name, id = scene.kind(**PRIVATE)
    _, encrypted = scene.kind()
    scene.ask("POST", f"types/{encrypted}/encryption", {"encryption": {"provider": "luks"}})
    for named, reason in ((UNKNOWN, "could not be found"), (name, "no access"), (encrypted, "encrypted")):
        status, content = scene.choose("d3", named)
        assert (status, reason in str(content)) == (400, True), content
    assert scene.ask("PUT", "default-types/d3", {"default_type": {}})[0] == 400
    scene.ask("POST", f"types/{id}/action", {"addProjectAccess": {"project": "d3"}})
    assert scene.choose("d3", name)[0] == 200
    assert scene.create("d3")[1]["volume"]["volume_type"] == name
    _, public = scene.kind()
    assert scene.choose("d4", public)[0] == 200
    for method, path, body in (
        ("POST", f"types/{id}/action", {"removeProjectAccess": {"project": "d3"}}),
        ("DELETE", f"types/{public}", None),
        ("PUT", f"types/{public}", {"volume_type": {"is_public": False}}),
        ("POST", f"types/{public}/encryption", {"encryption": {"provider": "luks"}}),
    ):
        status, content = scene.ask(method, path, body)
        assert (status, "default type of project" in str(content)) == (400, True), (path, content)
    scene.ask("DELETE", "default-types/d4")
    assert scene.ask("DELETE", f"types/{public}")[0] == 202


def test_the_zones_of_a_type(scene: Scene) -> None:
    """A volume comes into one of them; another one is refused by name, also of a source and at a retype."""
    here, _ = scene.kind(extra_specs={"RESKEY:availability_zones": "moon, nova"})
    moon, _ = scene.kind(extra_specs={"RESKEY:availability_zones": "moon"})
    assert scene.create(volume_type=here)[1]["volume"]["availability_zone"] == "nova"
    status, content = scene.create(volume_type=moon)
    assert (status, "moon only" in str(content)) == (400, True), content
    assert scene.create(volume_type=moon, availability_zone="nova")[0] == 400
    id = scene.create()[1]["volume"]["id"]
    assert scene.service.wait_status("volumes", id) == "available"
    assert scene.create(volume_type=moon, source_volid=id)[0] == 400
    retype = {"os-retype": {"new_type": moon, "migration_policy": "on-demand"}}
    status, content = scene.ask("POST", f"volumes/{id}/action", retype)
    assert (status, "moon only" in str(content)) == (400, True), content


@pytest.mark.parametrize("query", ["{'k':'v'", "[]", "7", "{'k': {}", "null"])
def test_a_filter_of_types_that_is_none(scene: Scene, query: str) -> None:
    """Another form than pairs is refused."""
    status, content = scene.ask("GET", f"types?extra_specs={quote(query)}")
    assert (status, "extra_specs" in str(content)) == (400, True), content


def test_filters_of_time(scene: Scene) -> None:
    """Every comparison, several at once, with and without an offset; what is no time or no operator is refused."""
    made = {name: scene.create(name=name)[1]["volume"]["created_at"] for name in ("first", "second")}
    first, second = made["first"], made["second"]
    for query, expected in (
        (f"created_at=gt:{first}", {"second"}), (f"created_at=gte:{first}", {"first", "second"}),
        (f"created_at=lt:{second}", {"first"}), (f"created_at=lte:{second}", {"first", "second"}),
        (f"created_at=eq:{first}", {"first"}), (f"created_at=neq:{first}", {"second"}),
        (f"created_at=gte:{first},lt:{second}", {"first"}), (f"created_at=gt:{first}Z", {"second"}),
        (f"created_at=gte:{first}%2B01:00", {"first", "second"}), (f"created_at=gte:{first}-01:00", set()),
        (f"created_at=gte:{first}+01:00", {"first", "second"}),
    ):  # fmt: skip
        assert scene.names(query) & set(made) == expected, query
    for value in (
        "",
        "gt",
        "gt:",
        first,
        f"over:{first}",
        "gt:yesterday",
        f"gt:{first},",
        "gt:0001-01-01T00:00:00+10:00",
    ):
        status, content = scene.ask("GET", f"volumes/detail?created_at={quote(value)}")
        assert (status, "created_at" in str(content)) == (400, True), (value, content)


def test_a_count_is_of_all_pages_and_of_the_filters(scene: Scene) -> None:
    """Whatever limit, offset and marker are; of other projects nothing is counted."""
    for _ in range(3):
        scene.create("c1", name="counted")
    scene.create("c1", name="other")

    def count(query: str, project: str = "c1") -> Any:
        status, content = scene.ask("GET", f"volumes?{query}", project=project)
        assert status == 200, content
        return content.get("count")

    marker = scene.ask("GET", "volumes", project="c1")[1]["volumes"][0]["id"]
    found = [count(f"with_count=true{more}") for more in ("", "&limit=1", f"&marker={marker}", "&offset=9", "&limit=0")]
    assert found == [4] * 5
    assert (count("with_count=True&name=counted"), count("with_count=1&name=no")) == (3, 0)
    assert (count("with_count=false"), count("with_count=true", "c2")) == (None, 0)
    assert scene.ask("GET", "volumes?with_count=perhaps")[0] == 400
