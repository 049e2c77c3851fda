"""Rows of the journal that an older version wrote, as the operations on volumes read them now."""

import json
from typing import Any

import pytest

from nbdsvc.operations.operation_type import OperationType, args_from_json, args_to_json
from nbdsvc.volumes.create import CREATE_VOLUME, CreateArgs
from nbdsvc.volumes.delete import DELETE_VOLUME, DeleteArgs
from nbdsvc.volumes.extend import EXTEND_VOLUME, ExtendArgs
from nbdsvc.volumes.upload import UPLOAD_VOLUME, UploadArgs

# Arguments as version 7b1fcb8 wrote them.
GOLDEN = [
    (
        CREATE_VOLUME,
        '{"volume_id": "v", "snapshot_id": null, "source_volid": "s", "image": null}',
        CreateArgs("v", source_volid="s"),
    ),
    (
        DELETE_VOLUME,
        '{"volume_id": "v", "snapshot_ids": ["a", "b"], "keep": true}',
        DeleteArgs("v", ("a", "b"), keep=True),
    ),
    (EXTEND_VOLUME, '{"volume_id": "v", "new_size": 3}', ExtendArgs("v", 3)),
    (
        UPLOAD_VOLUME,
        '{"volume_id": "v", "image_id": "i", "image_name": "n", "disk_format": "raw"}',
        UploadArgs("v", "i", "n", "raw"),
    ),
]


@pytest.mark.parametrize(("type", "stored", "expected"), GOLDEN, ids=[type.name for type, _, _ in GOLDEN])
def test_arguments_of_an_older_version_are_read(type: OperationType[Any], stored: str, expected: object) -> None:
    """An operation that an older version left unfinished goes on: what it did not write has its default."""
    assert args_from_json(type.args, json.loads(stored)) == expected


@pytest.mark.parametrize(("type", "stored", "expected"), GOLDEN, ids=[type.name for type, _, _ in GOLDEN])
def test_arguments_keep_their_names(type: OperationType[Any], stored: str, expected: object) -> None:
    """What is written has every name that the older version knew, with the same value, and is read as it was."""
    written = json.loads(json.dumps(args_to_json(expected)))
    assert written.items() >= json.loads(stored).items()
    assert args_from_json(type.args, written) == expected


def test_locks_follow_from_the_arguments() -> None:
    """A deletion locks its volume, snapshots and attachments; an upload of a volume in use shares the volume."""
    locked = {lock.name for lock in DELETE_VOLUME.locks(DeleteArgs("v", ("s",), attachment_ids=("a",)))}
    assert {"v"} < locked
    assert len(locked) == 4
    shared = [UPLOAD_VOLUME.locks(UploadArgs("v", "i", "n", "raw", in_use=use))[0].shared for use in (False, True)]
    assert shared == [False, True]
