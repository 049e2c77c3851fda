"""What a service does not load before it needs it: each such library costs every start time, and the service memory."""

import subprocess
import sys

PROGRAM = (
    "import nbdsvc.cli.serve, nbdsvc.service, nbdsvc.api.server, sys; print(*(n for n, m in sys.modules.items() if m))"
)
RARE = "urllib3 rich pygments alembic pyroute2 rtslib_fb psycopg lark pydantic.v1 yaml botocore".split()
RARE += "nbdsvc.exports.lio.plan nbdsvc.exports.simulated nbdsvc.notifications nbdsvc.api.volumes".split()
RARE += "nbdsvc.identity nbdsvc.backup_store.s3".split()


def test_a_service_starts_without_what_few_use() -> None:
    """A start loads no HTTP client, no library for tracebacks, no migrations, no netlink, no LIO, no Keystone, no
    notifications, no routes."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert [name for name in RARE if name in ran.stdout.split()] == []
