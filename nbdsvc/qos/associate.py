"""Associate QoS specs with volume types, one for each type. Exports of volumes of the type follow."""

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model.context import Context
from nbdsvc.qos.keep import check_transports, submit_limits
from nbdsvc.store import qos_specs, repositories


def associate(app: App, context: Context, id: str, type_id: str) -> None:
    """Give the specs to a volume type; again is success. Raises NotFound, and InvalidInput where the type has others, or its
    volumes are attached by a transport that cannot keep clients to these.
    """
    with app.change() as conn:
        app.database.lock_name(conn, f"type-{type_id}")
        # Locked, or they were deleted, and the type had them still.
        specs = repositories.qos_specs.get_for_update(conn, id)
        found = repositories.volume_types.get(conn, type_id)
        if found.qos_specs_id not in (None, id):
            reason = f"the type has QoS specs {found.qos_specs_id} already"
            raise errors.InvalidInput(field="vol_type_id", value=type_id[:80], reason=reason)
        check_transports(app, conn, [type_id], specs.consumer, specs.specs, "vol_type_id")
        repositories.volume_types.update(conn, type_id, qos_specs_id=id)
        submit_limits(app, conn, context, [type_id])


def disassociate(app: App, context: Context, id: str, type_id: str) -> None:
    """Take the specs from a volume type; success where it has them not. Raises NotFound for either."""
    with app.change() as conn:
        app.database.lock_name(conn, f"type-{type_id}")
        repositories.qos_specs.get(conn, id)
        if repositories.volume_types.get(conn, type_id).qos_specs_id == id:
            repositories.volume_types.update(conn, type_id, qos_specs_id=None)
            submit_limits(app, conn, context, [type_id])


def disassociate_all(app: App, context: Context, id: str) -> None:
    """Take the specs from every volume type. Raises NotFound."""
    with app.change() as conn:
        repositories.qos_specs.get_for_update(conn, id)
        types = qos_specs.types_of(conn, id)
        for found in types:
            repositories.volume_types.update(conn, found.id, qos_specs_id=None)
        submit_limits(app, conn, context, [found.id for found in types])
