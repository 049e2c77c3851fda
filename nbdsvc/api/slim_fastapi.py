"""FastAPI whose models of the OpenAPI format get their validators when a document is first made, not at each start.

They are a tenth of the processor time of a start, and 1.3 MiB of a service whose document may never be read. This module
has to be the first that imports FastAPI (nbdsvc/api/__init__.py).

Nor is pydantic's copy of its first version loaded, another 1.4 MiB: FastAPI looks only whether an annotation is one of its
models, takes a copy that cannot be imported for an answer, and refuses such models anyway.
"""

import sys

from pydantic import BaseModel, ConfigDict

# A name that stands for None cannot be imported (importlib, "The module cache").
sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]
_kept = BaseModel.model_config
# pydantic's own setting (ConfigDict.defer_build), which a model inherits from its bases when its class is made.
BaseModel.model_config = ConfigDict(defer_build=True)
import fastapi.openapi.models  # noqa: E402, F401

BaseModel.model_config = _kept
