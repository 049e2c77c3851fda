"""A real Keystone on SQLite with a region, a domain, two projects, a user for each role, and a service user.

Its passwords are known to every test: it listens on loopback for the length of a test session.
"""

import base64
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from wsgi_server import WsgiServer

PASSWORD = "of-tests-only"
REGION = "RegionOne"
# User -> its role in the project `demo`. The user `neighbour` is a member of the project `other`.
USERS = {"reader": "reader", "member": "member", "manager": "manager", "boss": "admin"}
SETTINGS = """
[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///{folder}/keystone.db
[token]
provider = fernet
expiration = {seconds}
[fernet_tokens]
key_repository = {folder}/keys
[fernet_receipts]
key_repository = {folder}/keys
[credential]
key_repository = {folder}/keys
[cache]
enabled = true
backend = dogpile.cache.memory
[identity]
# The least that bcrypt knows: each token of a password would cost a quarter of a second.
password_hash_rounds = 4
"""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    content: Any


def rest(method: str, url: str, token: str = "", body: object = None, **headers: str) -> Reply:
    """headers: by their names with _ for -."""
    given = {"Content-Type": "application/json", **({"X-Auth-Token": token} if token else {})}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    sent = None if body is None else json.dumps(body)
    reply = urllib3.request(method, url, body=sent, headers=given, timeout=60, retries=False)
    is_json = reply.headers.get("Content-Type", "").startswith("application/json") and reply.data
    return Reply(
        reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.json() if is_json else reply.data
    )


class Keystone:
    """`users`, `projects` and `roles`: name -> id. `url`: what clients call auth_url, with /v3."""

    def __init__(self) -> None:
        self.server = self._server(Path(tempfile.mkdtemp(prefix="ks-", dir="/var/tmp")), 3600)
        self.admin_token = ""
        self.users: dict[str, str] = {}
        self.projects: dict[str, str] = {}
        self.roles: dict[str, str] = {}

    def start(self) -> None:
        """With its database and its users; `end` it, even where this fails."""
        self._make_keys()
        self._manage("db_sync")
        self._bootstrap()
        self.server.start()
        self.admin_token = self.token("admin", project="admin")
        self.users["admin"] = self._id("users", "admin")
        self.projects["admin"] = self._id("projects", "admin")
        self.roles |= {each["name"]: each["id"] for each in self.admin("GET", "roles").content["roles"]}
        self._make_people()

    @property
    def url(self) -> str:
        return f"{self.server.url}/v3"

    def _server(self, folder: Path, seconds: int) -> WsgiServer:
        """seconds: how long its tokens are valid."""
        settings = folder / f"keystone-{seconds}.conf"
        settings.write_text(SETTINGS.format(folder=folder, seconds=seconds))
        variables = {"OS_KEYSTONE_CONFIG_DIR": str(folder), "OS_KEYSTONE_CONFIG_FILES": settings.name}
        return WsgiServer(folder, "keystone.wsgi.api", variables)

    def _make_keys(self) -> None:
        """As `keystone-manage fernet_setup` does, in no time."""
        keys = self.server.folder / "keys"
        keys.mkdir(mode=0o700)
        for name in ("0", "1"):
            (keys / name).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))

    def _bootstrap(self) -> None:
        urls = [word for kind in ("public", "internal", "admin") for word in (f"--bootstrap-{kind}-url", self.url)]
        region = ["--bootstrap-region-id", REGION]
        self._manage("bootstrap", *urls, *region, OS_BOOTSTRAP_PASSWORD=PASSWORD)

    def _manage(self, *arguments: str, **variables: str) -> None:
        settings = str(self.server.folder / "keystone-3600.conf")
        self.server.run("keystone-manage", "--config-file", settings, *arguments, **variables)

    def _make_people(self) -> None:
        for project in ("demo", "other", "service"):
            self.projects[project] = self.make_project(project)
        for user, role in USERS.items():
            self.make_user(user, "demo", role)
        self.make_user("neighbour", "other", "member")
        self.make_user("nbdsvc", "service", "service", "admin")

    def make_project(self, name: str, domain: str = "default") -> str:
        """Its id."""
        body = {"project": {"name": name, "domain_id": domain}}
        return str(self.admin("POST", "projects", body).content["project"]["id"])

    def make_user(self, name: str, project: str, *roles: str) -> str:
        """Its id; it has the roles in the project, a name of `projects`."""
        user = {"name": name, "password": PASSWORD, "domain_id": "default"}
        self.users[name] = id = str(self.admin("POST", "users", {"user": user}).content["user"]["id"])
        for role in roles:
            self.grant(name, project, role)
        return id

    def grant(self, user: str, project: str, role: str) -> None:
        path = f"projects/{self.projects[project]}/users/{self.users[user]}/roles/{self.roles[role]}"
        assert self.admin("PUT", path).status == 204

    def register(self, kind: str, name: str, url: str) -> None:
        """A service with its public endpoint in the catalogue; an older one of the kind is removed."""
        for old in self.admin("GET", f"services?type={kind}").content["services"]:
            self.admin("DELETE", f"services/{old['id']}")
        made = self.admin("POST", "services", {"service": {"type": kind, "name": name}}).content["service"]["id"]
        endpoint = {"service_id": made, "interface": "public", "region_id": REGION, "url": url}
        assert self.admin("POST", "endpoints", {"endpoint": endpoint}).status == 201

    def token(self, user: str, *, project: str = "demo") -> str:
        """A new token, scoped to the project."""
        scope = {"project": {"name": project, "domain": {"id": "default"}}}
        person = {"name": user, "password": PASSWORD, "domain": {"id": "default"}}
        return self.authenticate({"methods": ["password"], "password": {"user": person}}, scope)

    def authenticate(self, identity: dict[str, Any], scope: object = None) -> str:
        auth = {"identity": identity, **({"scope": scope} if scope else {})}
        reply = rest("POST", f"{self.url}/auth/tokens", body={"auth": auth})
        assert reply.status == 201, reply
        return reply.headers["x-subject-token"]

    def revoke(self, token: str) -> None:
        assert self.admin("DELETE", "auth/tokens", X_Subject_Token=token).status == 204

    def admin(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """A request of the administrator."""
        return rest(method, f"{self.url}/{path}", self.admin_token, body, **headers)

    def short_lived(self, seconds: int) -> WsgiServer:
        """Another Keystone of the same users and keys, whose tokens are valid for so long. Start it; stop it."""
        return self._server(self.server.folder, seconds)

    def _id(self, noun: str, name: str) -> str:
        return str(self.admin("GET", f"{noun}?name={name}").content[noun][0]["id"])

    def client_environment(self, user: str, project: str = "demo") -> dict[str, str]:
        """The variables that the command-line clients read."""
        return {
            "OS_AUTH_URL": self.url,
            "OS_USERNAME": user,
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_NAME": project,
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_REGION_NAME": REGION,
            "OS_IDENTITY_API_VERSION": "3",
        }

    def end(self) -> None:
        self.server.end()
