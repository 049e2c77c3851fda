"""structlog without rich, which it would import for tracebacks that a service never draws.

rich and what it imports take 30 ms of each start, and 4 MiB of a service that runs for months. This module has to be the
first that imports structlog.
"""

import importlib
import sys
from typing import Any

# A name that stands for None cannot be imported (importlib, "The module cache"); structlog goes on without rich then.
_hidden = not {"rich", "structlog"} & sys.modules.keys()
if _hidden:
    sys.modules["rich"] = None  # type: ignore[assignment]
structlog: Any = importlib.import_module("structlog")
if _hidden:
    del sys.modules["rich"]
