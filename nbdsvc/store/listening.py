"""PostgreSQL's LISTEN: a process that only answers requests wakes the host's engine without waiting for its poll."""

import threading
from collections.abc import Callable, Mapping

import structlog

from nbdsvc.store import postgresql
from nbdsvc.store.database import Database

log = structlog.get_logger(__name__)

# How often the listener looks whether it is to end, and how long it waits after a lost connection.
TICK_SECONDS = 1.0


class Listener:
    """Calls what `calls` has for a channel at each of its notifications, until it is stopped: with the host that sent it.

    Nothing on SQLite: the poll serves.
    """

    def __init__(self, database: Database, calls: Mapping[str, Callable[[str], None]]) -> None:
        self._database = database
        self._calls = calls
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen_forever, name="listener", daemon=True)

    def start(self) -> None:
        if not self._database.is_sqlite:
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _listen_forever(self) -> None:
        import psycopg

        arguments = postgresql.connection_arguments(self._database.url)
        while not self._stopping.is_set():
            try:
                with psycopg.connect(**arguments, autocommit=True) as connection:
                    for channel in self._calls:
                        connection.execute(f"LISTEN {channel}".encode())
                    while not self._stopping.is_set():
                        for notification in connection.notifies(timeout=TICK_SECONDS):
                            self._calls[notification.channel](notification.payload)
            except psycopg.Error as error:
                log.warning("lost the database's notifications", reason=str(error).partition("\n")[0])
                self._stopping.wait(TICK_SECONDS)
