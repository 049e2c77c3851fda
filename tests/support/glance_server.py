"""A real Glance with a file store behind the real Keystone of the session."""

import shutil
import tempfile
from pathlib import Path

from keystone_server import PASSWORD, Keystone
from wsgi_server import ENVIRONMENT, WsgiServer

SETTINGS = """
[DEFAULT]
use_stderr = true
show_multiple_locations = true
show_image_direct_url = true
enabled_backends = files:file
worker_self_reference_url = {url}
[database]
connection = sqlite:///{folder}/glance.db
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {folder}/images
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[paste_deploy]
flavor = keystone
config_file = {folder}/glance-api-paste.ini
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = glance
password = {password}
project_name = service
user_domain_id = default
project_domain_id = default
memcached_servers =
"""


class Glance:
    """`url`: its public endpoint, which is in Keystone's catalogue (type image). Users and projects are Keystone's."""

    def __init__(self, keystone: Keystone) -> None:
        folder = Path(tempfile.mkdtemp(prefix="gl-", dir="/var/tmp"))
        self.server = WsgiServer(folder, "glance.wsgi.api", {"OS_GLANCE_CONFIG_DIR": str(folder)})
        self.url = self.server.url
        self._keystone = keystone

    def start(self) -> None:
        """With its database; `end` it, even where this fails."""
        folder, keystone = self.server.folder, self._keystone
        shutil.copy(ENVIRONMENT / "etc/glance/glance-api-paste.ini", folder)
        for name in ("images", "tasks", "staging"):
            (folder / name).mkdir()
        settings = folder / "glance-api.conf"
        settings.write_text(
            SETTINGS.format(url=self.url, folder=folder, keystone=keystone.server.url, password=PASSWORD)
        )
        keystone.make_user("glance", "service", "service", "admin")
        keystone.register("image", "glance", self.url)
        self.server.run("glance-manage", "--config-file", str(settings), "db_sync")
        self.server.start()

    def end(self) -> None:
        self.server.end()
