"""The HTTP face: one file a resource. It knows use cases and no driver, exporter or data path."""

# This import has to come before any module of this folder imports FastAPI.
from nbdsvc.api import slim_fastapi as slim_fastapi
