"""Groups of a service under test, by its API."""

from typing import Any

from asking import ask
from serving import ServiceProcess

from nbdsvc.model import names

NEWEST = "volume 3.44"
TYPE = "__DEFAULT__"


class Groups:
    """The groups of one project."""

    def __init__(self, service: ServiceProcess, project: str = "p1") -> None:
        self.service, self._project = service, project

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"OpenStack_API_Version": NEWEST, "X_Auth_Token": f"t:{self._project}"}
        status, content, _ = ask(self.service, method, f"/v3/{path}", body, **headers)
        return status, content

    def good(self, method: str, path: str, body: Any = None) -> Any:
        status, content = self.ask(method, path, body)
        assert status < 300, (method, path, content)
        return content

    def refused(self, method: str, path: str, body: Any = None) -> str:
        """The message of a 400."""
        status, content = self.ask(method, path, body)
        assert status == 400, content
        return str(content["badRequest"]["message"])

    def type(self, **specs: str) -> str:
        body = {"group_type": {"name": f"gt-{names.new_id()}", "group_specs": specs}}
        return str(self.good("POST", "group_types", body)["group_type"]["id"])

    def group(self, volumes: int = 0, group_type: str | None = None, wanted: str = "available", **fields: Any) -> str:
        body = {"group": {"group_type": group_type or self.type(), "volume_types": [TYPE], **fields}}
        id = str(self.good("POST", "groups", body)["group"]["id"])
        assert self.rest("groups", id) == wanted
        for _ in range(volumes):
            self.volume(group_id=id)
        return id

    def volume(self, **fields: Any) -> str:
        id = str(self.good("POST", "volumes", {"volume": {"size": 1, **fields}})["volume"]["id"])
        assert self.rest("volumes", id) == "available"
        return id

    def snapshot(self, group: str, wanted: str = "available") -> str:
        made = self.good("POST", "group_snapshots", {"group_snapshot": {"group_id": group}})["group_snapshot"]["id"]
        assert self.rest("group_snapshots", made) == wanted
        return str(made)

    def from_source(self, wanted: str = "available", **source: str) -> str:
        made = self.good("POST", "groups/action", {"create-from-src": source})["group"]["id"]
        assert self.rest("groups", made) == wanted
        return str(made)

    def update(self, group: str, wanted: str = "available", **changes: str) -> None:
        self.good("PUT", f"groups/{group}", {"group": changes})
        assert self.rest("groups", group) == wanted

    def act(self, group: str, action: str, value: Any = None) -> Any:
        return self.good("POST", f"groups/{group}/action", {action: value or {}})

    def delete(self, group: str, wanted: str = "gone", *, volumes: bool = True) -> None:
        self.act(group, "delete", {"delete-volumes": volumes})
        assert self.rest("groups", group) == wanted

    def rest(self, noun: str, id: str) -> str:
        """The status once no operation works on it; `gone`."""
        self.service.settle()
        status, content = self.ask("GET", f"{noun}/{id}")
        return "gone" if status == 404 else str(content[noun.removesuffix("s")]["status"])

    def volumes_of(self, group: str) -> list[str]:
        return list(self.good("GET", f"groups/{group}?list_volume=true")["group"]["volumes"])

    def statuses(self, group: str) -> list[str]:
        """Of the volumes of the group, in the order in which they were made."""
        found = self.good("GET", f"volumes/detail?group_id={group}&sort=created_at:asc")["volumes"]
        return [each["status"] for each in found]

    def snapshots_of(self, whole: str) -> list[dict[str, Any]]:
        """In the order in which they were made."""
        found = self.good("GET", "snapshots/detail?sort=created_at:asc")["snapshots"]
        return [each for each in found if each["group_snapshot_id"] == whole]

    def used(self) -> tuple[int, int, int]:
        """Groups, volumes and snapshots against the project's quotas."""
        found = self.good("GET", f"os-quota-sets/{self._project}?usage=true")["quota_set"]
        return tuple(found[each]["in_use"] for each in ("groups", "volumes", "snapshots"))  # type: ignore[return-value]

    def newest(self, kind: str) -> Any:
        return self.good("GET", f"operations?kind={kind}&limit=1")["operations"][0]
