"""Fixtures that every kind of test uses, and the listing of acceptance rows."""

import os
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import debian_packages  # noqa: F401 (before any import of libnbd)
import migrated
import pytest
import recording
import structlog
from exporting import Exports
from glance_server import Glance
from hypothesis import HealthCheck, settings
from keystone_server import Keystone
from postgres import Postgres
from rados_gateway import RadosGateway
from serving import ServiceProcess

from nbdsvc.store.database import Database

settings.register_profile(
    "nbdsvc", deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, derandomize="CI" in os.environ
)
settings.load_profile("nbdsvc")
ServiceProcess.forks = True
structlog.configure(logger_factory=structlog.ReturnLoggerFactory())

# The rig runs these in its machines; elsewhere there is no volume group to lose, and no LIO.
_MACHINE_ONLY = {"volume_group": "NBDSVC_TEST_VOLUME_GROUP", "configfs": "NBDSVC_TEST_LIO"}
collect_ignore = [folder for folder, variable in _MACHINE_ONLY.items() if not os.environ.get(variable)]
if not os.environ.get("NBDSVC_TEST_VOLUME_GROUP"):
    collect_ignore.append("configfs/test_recovery.py")
S = TypeVar("S", Keystone, Glance)
ROWS = Path(__file__).parent / "acceptance_rows.toml"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rows", action="store_true", help="list which acceptance rows are proved by which tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--rows"):
        return
    proofs: dict[str, set[str]] = {}
    for item in items:
        for mark in item.iter_markers("row"):
            for row in mark.args:
                proofs.setdefault(row, set()).add(item.nodeid.partition("[")[0])
    wanted = tomllib.loads(ROWS.read_text())["rows"]
    for row, title in wanted.items():
        print(f"{row} {title}")
        for test in sorted(proofs.get(row, {"  NOT PROVED"})):
            print(f"     {test}")
    missing = [row for row in wanted if row not in proofs]
    print(
        f"{len(wanted) - len(missing)} of {len(wanted)} rows proved"
        + (f"; not: {' '.join(missing)}" if missing else "")
    )
    items.clear()
    if missing:
        pytest.exit("rows without a proof: " + " ".join(missing), returncode=1)


def pytest_configure(config: pytest.Config) -> None:
    if (calls := recording.folder()) and (worker := os.environ.get("PYTEST_XDIST_WORKER")):
        os.environ[recording.FOLDER] = str(calls / worker)


def pytest_runtest_setup(item: pytest.Item) -> None:
    recording.note_test(item.nodeid)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if session.config.getoption("--rows") and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def keystone() -> Iterator[Keystone]:
    """One for a test session: who changes its users makes users and projects of its own."""
    yield from _running(Keystone())


@pytest.fixture(scope="session")
def glance(keystone: Keystone) -> Iterator[Glance]:
    """One for a test session, behind the session's Keystone."""
    yield from _running(Glance(keystone))


def _running(server: S) -> Iterator[S]:
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture(scope="session")
def gateway() -> Iterator[RadosGateway]:
    """A server of S3."""
    server = RadosGateway()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def kind_of_database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, kind_of_database: str, tmp_path: Path) -> str:
    """A fresh, empty database of either kind."""
    if kind_of_database == "sqlite":
        return str(tmp_path / "test.db")
    return str(request.getfixturevalue("postgres").database())


@pytest.fixture
def migrated_url(request: pytest.FixtureRequest, kind_of_database: str, tmp_path: Path) -> str:
    """A database of either kind with the newest schema, and no rows but those of the migrations."""
    if kind_of_database == "sqlite":
        migrated.sqlite_at(tmp_path / "test.db")
        return str(tmp_path / "test.db")
    return migrated.postgresql_of(request.getfixturevalue("postgres"))


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    """A migrated database of either kind."""
    opened = Database(migrated_url)
    yield opened
    opened.close()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short name, because socket paths are limited."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def make_service() -> Iterator[Callable[..., ServiceProcess]]:
    """Starts services on folders with short names, because socket paths are limited; ends all of them."""
    yield from _service_maker()


@pytest.fixture(scope="module")
def module_service() -> Iterator[Callable[..., ServiceProcess]]:
    """The same, for services that all tests of a module use."""
    yield from _service_maker()


def _service_maker() -> Iterator[Callable[..., ServiceProcess]]:
    made: list[ServiceProcess] = []
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:

        def make(name: str = "a", *, start: bool = True, **given: object) -> ServiceProcess:
            service = ServiceProcess(Path(folder) / name, **given)
            made.append(service)
            return service.start() if start else service

        yield make
        for service in made:
            if service.process:
                service.stop()
            service.end_exports()


@pytest.fixture
def service(make_service: Callable[..., ServiceProcess]) -> ServiceProcess:
    return make_service()


@pytest.fixture(scope="module")
def shared_service() -> Iterator[ServiceProcess]:
    """One service for tests that look at answers and do not disturb each other."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        made = ServiceProcess(Path(folder)).start()
        yield made
        made.stop()
        made.end_exports()


@pytest.fixture
def exports() -> Iterator[Exports]:
    """An exporter of NBD on a folder of its own; its servers end with the test."""
    with tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as folder:
        made = Exports(Path(folder))
        yield made
        for id in made.exporter.inventory().exports:
            made.exporter.remove(id)
