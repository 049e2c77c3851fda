"""Delete QoS specs."""

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model.context import Context
from nbdsvc.qos.keep import submit_limits
from nbdsvc.store import qos_specs, repositories


def delete_qos_specs(app: App, context: Context, id: str, *, force: bool = False) -> None:
    """Remove the specs; with `force` from the volume types that have them too. Raises NotFound, InvalidInput (types)."""
    with app.change() as conn:
        repositories.qos_specs.get_for_update(conn, id)
        types = qos_specs.types_of(conn, id)
        if types and not force:
            reason = f"{len(types)} volume types have them: disassociate these, or use force"
            raise errors.InvalidInput(field="qos_specs", value=id, reason=reason)
        for found in types:
            repositories.volume_types.update(conn, found.id, qos_specs_id=None)
        repositories.qos_specs.delete(conn, id)
        submit_limits(app, conn, context, [found.id for found in types])
