"""For every operation on backups: a request that succeeds, and what its reply has."""

from shapes import BACKUP, BACKUP_MADE, BACKUP_SHORT, LINK, keys
from world import act, get, send

BACKUPS = [
    send(
        "POST",
        "backups",
        202,
        {"backup": BACKUP_MADE},
        lambda w: ("backups", {"backup": {"volume_id": w.new_volume()}}),
    ),
    get("backups", {"backups": [BACKUP_SHORT], "backups_links": [LINK]}, "backups?limit=1"),
    get("backups/detail", {"backups": [BACKUP], "backups_links": [LINK]}, "backups/detail?limit=1"),
    get("backups/{id}", {"backup": BACKUP}, lambda w: f"backups/{w.backup}"),
    send(
        "PUT",
        "backups/{id}",
        200,
        {"backup": BACKUP_MADE},
        lambda w: (f"backups/{w.backup}", {"backup": {"name": "n"}}),
        since=(3, 9),
    ),
    send("DELETE", "backups/{id}", 202, None, lambda w: (f"backups/{w.new_backup()}", None)),
    send(
        "POST",
        "backups/{id}/restore",
        202,
        {"restore": keys("backup_id volume_id volume_name")},
        lambda w: (f"backups/{w.new_backup()}/restore", {"restore": {}}),
    ),
    get(
        "backups/{id}/export_record",
        {"backup-record": keys("backup_service backup_url")},
        lambda w: f"backups/{w.backup}/export_record",
        admin=True,
    ),
    send(
        "POST",
        "backups/import_record",
        201,
        {"backup": BACKUP_SHORT},
        lambda w: ("backups/import_record", {"backup-record": w.forgotten_backup()}),
        admin=True,
    ),
    send(
        "POST",
        "backups/collect",
        200,
        {"collected": keys("chunks bytes kept waiting faults")},
        lambda w: ("backups/collect", {}),
        admin=True,
    ),
    act("backups", "nbdsvc-verify", lambda w: w.backup),
    act("backups", "os-reset_status", lambda w: w.new_backup(), {"status": "error"}, admin=True),
    act("backups", "os-force_delete", lambda w: w.new_backup(), admin=True),
]
