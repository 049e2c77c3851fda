"""FastAPI whose models of the OpenAPI format get their validators when a document is first made, not at each start.

They are a tenth of the processor time of a start, and 1.3 MiB of a service whose document may never be read. This module
has to be the first that imports FastAPI (nbdsvc/api/__init__.py).
"""

from pydantic import BaseModel, ConfigDict

_kept = BaseModel.model_config
# pydantic's own setting (ConfigDict.defer_build), which a model inherits from its bases when its class is made.
BaseModel.model_config = ConfigDict(defer_build=True)
import fastapi.openapi.models  # noqa: E402, F401

BaseModel.model_config = _kept
