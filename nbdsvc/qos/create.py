"""Create QoS specs."""

from nbdsvc import errors
from nbdsvc.app import App
from nbdsvc.model import names, qos
from nbdsvc.model.entities import QosSpecs
from nbdsvc.store import repositories, tables


def create_qos_specs(app: App, name: str, consumer: str, specs: dict[str, str]) -> QosSpecs:
    """Add specs. Raises InvalidInput (`qos.check`), and Conflict where the name is taken."""
    qos.check(consumer, specs)
    with app.change() as conn:
        app.database.lock_name(conn, "qos-names")
        if repositories.qos_specs.count(conn, tables.qos_specs.c.name == name):
            raise errors.Conflict(reason=f"QoS specs called {name} exist already")
        return repositories.qos_specs.insert(conn, QosSpecs(names.new_id(), name, consumer, specs))
