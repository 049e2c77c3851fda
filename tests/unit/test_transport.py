"""Which transport an attachment gets: from its connector, its volume's type and its backend, and what was recorded."""

from dataclasses import dataclass
from typing import Any

import pytest

from nbdsvc import errors
from nbdsvc.attachments.transport import choose
from nbdsvc.exporter import Access, Connector


@dataclass
class Transport:
    """An exporter as far as the choice asks for it: it accepts connectors that have this field."""

    protocol: str
    needs: str

    def accept(self, connector: Connector) -> Access:
        if not getattr(connector, self.needs):
            raise errors.InvalidInput(field=f"connector.{self.needs}", value=None, reason="is needed")
        return Access()


NBD: Any = Transport("nbd", "host")
ISCSI: Any = Transport("iSCSI", "initiators")
BOTH = Connector(host="h", initiators=("iqn.2026-11.org.example:h",))


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
    assert choose(exporters, connector, specs, recorded)[0].protocol == protocol


def test_what_none_accepts_is_refused_as_by_the_best() -> None:
    """The field that is named is the one that the backend's first transport needs."""
    with pytest.raises(errors.InvalidInput, match=r"connector\.initiators"):
        choose((ISCSI, NBD), Connector(), {}, None)


def test_a_type_that_no_transport_serves_is_named() -> None:
    """With what the type wants and what the backend has."""
    with pytest.raises(errors.Unsupported, match=r"wants FC, and its backend exports by nbd, iSCSI"):
        choose((NBD, ISCSI), BOTH, {"storage_protocol": "FC"}, None)
