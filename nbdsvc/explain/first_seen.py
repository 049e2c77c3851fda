"""Since when a difference is known, where neither a row nor a file tells: by the first look of this process that found it."""

import threading
from collections.abc import Iterable, Mapping
from datetime import datetime

from nbdsvc.model import clock


class FirstSeen:
    """Key of a finding -> the first look. In memory: a new process begins anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scopes: dict[str, dict[str, datetime]] = {}

    def note(self, scope: str, keys: Iterable[str], *, borrow: bool = False) -> Mapping[str, datetime]:
        """These are what a look found; what it does not find any more is forgotten. scope: of looks at the same things.
        borrow: another scope looks more often, and knows better.
        """
        now = clock.now()
        with self._lock:
            others = [found for name, found in self._scopes.items() if borrow and name != scope]
            known = [*others, self._scopes.get(scope, {})]
            self._scopes[scope] = {key: next((found[key] for found in known if key in found), now) for key in keys}
            return self._scopes[scope]
