"""Which modules of this folder serve which resource: each is loaded when its resource is first requested.

A service that is never requested for groups or backups has none of their routes, models and use cases in its memory;
together they were a quarter of the processor time of a start and 9 MiB.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from nbdsvc.api.asgi import Receive, Scope, Send
from nbdsvc.late_modules import LateModules

# The first segment of a path behind /v3 -> the modules with its routes. A module may stand at several; within a resource
# the first module whose route matches serves the request. RESOURCE/LAST: further ones, for paths that end with LAST.
MODULES: Mapping[str, tuple[str, ...]] = {
    "volumes": ("volumes", "encryption"),
    "volumes/action": ("volume_actions",),  # retypes, migrations, uploads ...: as much memory as three other resources
    "snapshots": ("snapshots",),
    "attachments": ("attachments",),
    "types": ("types", "encryption"),
    "limits": ("limits",),
    "os-quota-sets": ("quota_sets",),
    "os-quota-class-sets": ("quota_classes",),
    "os-services": ("services", "evacuation", "lost_hosts"),
    "os-hosts": ("hosts",),
    "workers": ("workers",),
    "clusters": ("clusters",),
    "scheduler-stats": ("pools", "placement"),
    "capabilities": ("pools",),
    "os-availability-zone": ("zones",),
    "extensions": ("extensions",),
    "resource_filters": ("resource_filters",),
    "operations": ("operations",),
    "messages": ("messages",),
    "images": ("images",),
    "image-cache": ("image_cache",),
    "explain": ("explain",),
    "manageable_volumes": ("manageable",),
    "manageable_snapshots": ("manageable",),
    "os-volume-manage": ("manageable",),
    "os-snapshot-manage": ("manageable",),
    "volume-transfers": ("transfers",),
    "os-volume-transfer": ("transfers",),
    "qos-specs": ("qos_specs",),
    "default-types": ("default_types",),
    "group_types": ("group_types",),
    "groups": ("groups",),
    "group_snapshots": ("group_snapshots",),
    "consistencygroups": ("consistencygroups",),
    "cgsnapshots": ("cgsnapshots",),
    "backups": ("backup_records", "backups"),
}
# Their replies are of all routes.
_OF_ALL = frozenset({"/openapi.json", "/docs"})


class Resources:
    """An ASGI application whose routes behind /v3 are loaded with the first request for their resource."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._loaded: set[str] = set()
        self._modules = LateModules(f"nbdsvc.api.{name}" for names in MODULES.values() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # In the event loop, and so by one request at a time.
        self._load(scope["path"])
        await self._app(scope, receive, send)

    def _load(self, path: str) -> None:
        parts = path.rstrip("/").split("/")  # with a slash at its end, the routes redirect
        if path in _OF_ALL:
            for modules in MODULES.values():
                self._include(modules)
        elif len(parts) > 2 and parts[1] == "v3":
            self._include(MODULES.get(parts[2], ()))
            self._include(MODULES.get(f"{parts[2]}/{parts[-1]}", ()))

    def _include(self, modules: tuple[str, ...]) -> None:
        for name in modules:
            if name not in self._loaded:
                module: Any = self._modules.load(f"nbdsvc.api.{name}")
                self._app.include_router(module.router, prefix="/v3")
                self._loaded.add(name)
