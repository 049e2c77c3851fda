"""Which transport an attachment gets: from its connector, its volume's type and its backend, and what was recorded."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nbdsvc import errors
from nbdsvc.attachments.transport import choose
from nbdsvc.exporter import Access, Connector, check_scheme
from nbdsvc.host import Backend, Host
from nbdsvc.location import LOCAL, Location, Scheme
from nbdsvc.model import names
from nbdsvc.model.entities import Attachment, Volume
from nbdsvc.store import repositories
from nbdsvc.store.database import Database
from nbdsvc.units import GiB
from nbdsvc.volumes.extend import EXTEND_VOLUME, ExtendArgs


@dataclass
class Transport:
    """An exporter as far as the choice asks for it: it accepts connectors that have this field, and these schemes."""

    protocol: str
    needs: str
    served: tuple[Scheme, ...] = LOCAL

    def accept(self, connector: Connector, location: Location) -> Access:
        check_scheme(self.protocol, location, self.served)
        if not getattr(connector, self.needs):
            raise errors.InvalidInput(field=f"connector.{self.needs}", value=None, reason="is needed")
        return Access()


NBD: Any = Transport("nbd", "host")
ISCSI: Any = Transport("iSCSI", "initiators")
NBD_ANYWHERE: Any = Transport("nbd", "host", (*LOCAL, "nbd"))
BOTH = Connector(host="h", initiators=("iqn.2026-11.org.example:h",))
HERE, REMOTE = Location.block(Path("/dev/group/volume")), Location("nbd", "nbd://storage/volume")


@pytest.mark.parametrize(
    ("exporters", "connector", "specs", "recorded", "protocol"),
    [
        ((NBD, ISCSI), BOTH, {}, None, "nbd"),
        ((ISCSI, NBD), BOTH, {}, None, "iSCSI"),
        ((ISCSI, NBD), Connector(host="h"), {}, None, "nbd"),
        ((NBD, ISCSI), BOTH, {}, "iscsi", "iSCSI"),
        ((NBD, ISCSI), Connector(host="h"), {}, "iscsi", "nbd"),
        ((NBD,), BOTH, {}, "iscsi", "nbd"),
        ((NBD, ISCSI), BOTH, {"storage_protocol": "iSCSI"}, None, "iSCSI"),
        ((NBD, ISCSI), BOTH, {"storage_protocol": "<in> iSCSI"}, "nbd", "iSCSI"),
        ((NBD, ISCSI), BOTH, {"storage_protocol": "<or> iSCSI <or> nbd"}, None, "nbd"),
        ((NBD, ISCSI), BOTH, {"tier": "gold"}, None, "nbd"),
    ],
)  # fmt: skip
def test_the_choice(exporters: Any, connector: Connector, specs: Any, recorded: str | None, protocol: str) -> None:
    """The backend's best that the type allows and that accepts the connector; the recorded one before them."""
    assert choose(exporters, connector, HERE, specs, recorded)[0].protocol == protocol


def test_what_none_accepts_is_refused_as_by_the_best() -> None:
    """The field that is named is the one that the backend's first transport needs."""
    with pytest.raises(errors.InvalidInput, match=r"connector\.initiators"):
        choose((ISCSI, NBD), Connector(), HERE, {}, None)


def test_a_type_that_no_transport_serves_is_named() -> None:
    """With what the type wants and what the backend has."""
    with pytest.raises(errors.Unsupported, match=r"wants FC, and its backend exports by nbd, iSCSI"):
        choose((NBD, ISCSI), BOTH, HERE, {"storage_protocol": "FC"}, None)


@dataclass
class Limiting(Transport):
    """One that keeps clients to limits."""

    limit_clients = limits = Transport.accept


def test_a_limited_volume_has_only_transports_that_limit() -> None:
    """Whatever was recorded, and the backend's best; where the type wants another one, that is the refusal."""
    limiting: Any = Limiting("nbd", "host")
    assert choose((ISCSI, limiting), BOTH, HERE, {}, "iscsi", limited=True)[0] is limiting
    for exporters, specs in ((ISCSI,), {}), ((limiting, ISCSI), {"storage_protocol": "iSCSI"}):
        with pytest.raises(errors.Unsupported, match="exports by iSCSI cannot keep clients"):
            choose(exporters, BOTH, HERE, specs, None, limited=True)


def test_a_transport_that_cannot_serve_the_location_is_passed_over() -> None:
    """Also the recorded one, and the backend's best."""
    assert choose((ISCSI, NBD_ANYWHERE), BOTH, REMOTE, {}, "iscsi")[0].protocol == "nbd"


def test_a_location_that_no_transport_serves_is_refused_with_its_scheme() -> None:
    """By the words of the best one that the type allows."""
    with pytest.raises(
        errors.Unsupported, match="nbd exports volumes at file or block locations, and this one is at nbd"
    ):
        choose((NBD, ISCSI), BOTH, REMOTE, {}, None)
    with pytest.raises(errors.Unsupported, match="iSCSI exports volumes at file or block"):
        choose((NBD_ANYWHERE, ISCSI), BOTH, REMOTE, {"storage_protocol": "iSCSI"}, None)


def test_what_the_connector_lacks_is_said_before_what_it_cannot_change() -> None:
    """The field that is named is that of the transport which could serve the location."""
    with pytest.raises(errors.InvalidInput, match=r"connector\.host"):
        choose((ISCSI, NBD_ANYWHERE), Connector(), REMOTE, {}, None)


@dataclass
class Resizing:
    """An exporter as far as an extension needs it."""

    protocol: str
    resized: dict[str, int]

    def resize(self, export_id: str, size: int) -> None:
        self.resized[f"{self.protocol} {export_id}"] = size


def test_an_extension_resizes_by_the_recorded_transport(database: Database) -> None:
    """Each export by the transport that its attachment has recorded, whichever its backend has first, or at all, by now."""
    resized: dict[str, int] = {}
    nbd, iscsi = (cast("Any", Resizing(protocol, resized)) for protocol in ("nbd", "iSCSI"))
    driver: Any = SimpleNamespace(extend_volume=lambda _volume, _size: None)
    host = Host("h", {"b": Backend("b", driver, (nbd,))}, database, *cast("Any", [None] * 5), retired=(iscsi,))
    volume = Volume(names.new_id(), "p", "u", size=1, status="extending", host="h", backend="b", pool="p")
    with database.write() as conn:
        repositories.volumes.insert(conn, volume)
        for id, protocol in (("1", "iscsi"), ("2", "nbd"), ("3", None)):
            made = Attachment(id, volume.id, "p", "attached", protocol=protocol, exported=protocol is not None)
            repositories.attachments.insert(conn, made)
    args = ExtendArgs(volume.id, 2)
    run: Any = SimpleNamespace(environment=host, operation=SimpleNamespace(step_backend="b"), args=args)
    EXTEND_VOLUME.steps[0].do(run)
    assert resized == {"iSCSI 1": 2 * GiB, "nbd 2": 2 * GiB}
