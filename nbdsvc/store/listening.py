"""PostgreSQL's LISTEN: a process that only answers requests wakes the host's engine without waiting for its poll."""

import threading
from collections.abc import Callable

import structlog

from nbdsvc.store.database import Database

log = structlog.get_logger(__name__)

# How often the listener looks whether it is to end, and how long it waits after a lost connection.
TICK_SECONDS = 1.0


class Listener:
    """Calls `wake` for every notification on a channel, until it is stopped. Nothing on SQLite: the poll serves."""

    def __init__(self, database: Database, channel: str, wake: Callable[[], None]) -> None:
        self._database = database
        self._url = database.url.replace("postgresql+psycopg:", "postgresql:")
        self._channel = channel
        self._wake = wake
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

        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    connection.execute(f"LISTEN {self._channel}".encode())
                    while not self._stopping.is_set():
                        for _ in connection.notifies(timeout=TICK_SECONDS):
                            self._wake()
            except psycopg.Error as error:
                log.warning("lost the database's notifications", reason=str(error).partition("\n")[0])
                self._stopping.wait(TICK_SECONDS)
