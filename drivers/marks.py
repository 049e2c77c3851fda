"""The marks on the files of a pool: extended attributes, and so there with their file or not at all."""

import errno
import os
from pathlib import Path

# Id of the operation that made or adopted the file.
OWNER = "user.nbdsvc.owner"
# Of a snapshot: its volume's id, for a rebuild of a lost database.
ORIGIN = "user.nbdsvc.origin"


def read(path: Path, name: str) -> str | None:
    """None without the mark, and where there is no file. OSError where the file system does not answer."""
    try:
        return os.getxattr(path, name, follow_symlinks=False).decode()
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOENT, errno.ENOTDIR):
            return None
        raise


def remove(path: Path, name: str) -> None:
    """Nothing happens where it is removed already. OSError as `read`."""
    try:
        os.removexattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
