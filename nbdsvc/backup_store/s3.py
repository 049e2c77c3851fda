"""A bucket of S3 as a store, or a part of one: `s3://BUCKET/PREFIX`, of any server that speaks S3.

An object is put by one request, which makes it whole or not at all, with its MD5, so that what was changed on the way is
refused. A chunk is far below what one request may carry, so nothing is sent in parts, and nothing of a killed writer
stays. A listing is of the present, as S3 has promised since 2020 and Ceph always had it.

A move is a copy and a deletion; S3 has no other. For a moment the object has both names, which collection.py allows for.
What is stored anew under the old name in that moment would be deleted with it: so the content is compared right before
(servers that check it by themselves, If-Match of a deletion, are too few).
"""

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nbdsvc import errors
from nbdsvc.backup_store import identity
from nbdsvc.backup_store.contract import Missing, TooLarge
from nbdsvc.backup_store.s3_client import S3Place, make_client, raised_by

_T = TypeVar("_T")
# How often a body that ended too soon is requested again, and a copy whose source was replaced is made again.
_TRIES = 3


@dataclass(frozen=True)
class _Found:
    """An object's first bytes, its size, and the tag that names its content."""

    content: bytes
    size: int
    tag: str


class S3Store:
    """A part of a bucket. note: a file of this host's state folder, which remembers the store's id."""

    moves_at_once = False
    hint = "was the bucket emptied, or another one made in its place?"

    def __init__(self, place: S3Place, note: Path) -> None:
        self.name = "backup store"
        self.where = f"s3://{place.bucket}/{place.prefix}".rstrip("/")
        self._place = place
        self._note = note
        self._lock = threading.Lock()
        self._client: Any = None

    def is_known(self) -> bool:
        return self._note.exists()

    def check(self) -> str:
        """As of BackupStore. The first check of an empty prefix makes the store; the bucket has to be there."""
        return identity.check(self, self._note)

    def read_mark(self) -> bytes | None:
        """As of Markable."""
        try:
            return self.get(identity.MARK, identity.MOST_MARK)
        except Missing:
            return None
        except TooLarge as error:
            reason = f"{self.where}/{identity.MARK} is damaged: {error}"
            raise errors.BackendUnavailable(backend=self.name, reason=reason) from None

    def make_mark(self, content: bytes) -> None:
        """As of Markable. By a put that the server refuses where another host was first."""
        wanted = {"Bucket": self._place.bucket, "Prefix": self._key(""), "MaxKeys": 2}
        found = self._call(lambda client: client.list_objects_v2(**wanted)).get("Contents", ())
        if {each["Key"] for each in found} - {self._key(identity.MARK)}:
            reason = f"{self.where} has other objects in it, and is no store of backups: name another prefix"
            raise errors.BackendUnavailable(backend=self.name, reason=reason)
        self._put(identity.MARK, content, IfNoneMatch="*")

    def put(self, name: str, content: bytes) -> None:
        self._put(name, content)

    def get(self, name: str, most: int) -> bytes:
        found = self._ranged(name, most)
        if found.size > most:
            raise TooLarge(found.size, most)
        return found.content

    def head(self, name: str, length: int) -> tuple[bytes, int]:
        found = self._ranged(name, length)
        return found.content[:length], found.size

    def names(self, folder: str) -> Iterator[str]:
        prefix, found = self._key(f"{folder}/"), False
        for page in self._pages(prefix):
            keys = [each["Key"] for each in page.get("Contents", ())]
            keys += [each["Prefix"] for each in page.get("CommonPrefixes", ())]
            found = found or bool(keys)
            yield from filter(None, (key.removeprefix(prefix).rstrip("/") for key in keys))
        if not found and self.read_mark() is None:
            reason = f"{self.where} is not the store that this host uses; {self.hint}"
            raise errors.BackendUnavailable(backend=self.name, reason=reason)

    def _pages(self, prefix: str) -> Iterator[dict[str, Any]]:
        wanted = {"Bucket": self._place.bucket, "Prefix": prefix, "Delimiter": "/", "MaxKeys": self._place.page}
        while True:
            page: dict[str, Any] = self._call(lambda client: client.list_objects_v2(**wanted))
            yield page
            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken")
            if not token or token == wanted.get("ContinuationToken"):
                # A part is no list: what is not in it would be taken for what no backup needs.
                reason = f"{self.where}: the server cuts a list short and does not go on (ListObjectsV2)"
                raise errors.BackendUnavailable(backend=self.name, reason=reason)
            wanted["ContinuationToken"] = token

    def move(self, name: str, new: str) -> bool:
        bucket, key = self._place.bucket, self._key(new)
        source = {"Bucket": bucket, "Key": self._key(name)}
        for _try in range(_TRIES):
            try:
                before = self._ranged(name, 0).tag
                self._call(lambda client: client.copy_object(Bucket=bucket, Key=key, CopySource=source))
            except Missing:
                return False
            if self._tag(name) in (before, None):
                self._delete(name)
                return True
        raise errors.BackendUnavailable(backend=self.name, reason=f"{name} is replaced again and again")

    def remove(self, name: str) -> bool:
        """As of BackupStore. A deletion says nothing of what was there, so this is looked at before."""
        found = self._tag(name) is not None
        if found:
            self._delete(name)
        return found

    def remove_folder(self, folder: str) -> None:
        """A folder is there as long as it has objects."""

    def sync(self, folder: str) -> None:
        """What was answered is on stable storage."""

    def sweep(self, folder: str) -> int:
        """A writer that was killed leaves nothing."""
        return 0

    def _key(self, name: str) -> str:
        return f"{self._place.prefix}/{name}" if self._place.prefix else name

    def _tag(self, name: str) -> str | None:
        """What names the content of the object; None where there is none."""
        try:
            return self._ranged(name, 0).tag
        except Missing:
            return None

    def _delete(self, name: str) -> None:
        self._call(lambda client: client.delete_object(Bucket=self._place.bucket, Key=self._key(name)))

    def _put(self, name: str, content: bytes, **conditions: str) -> None:
        md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        wanted = {
            "Bucket": self._place.bucket,
            "Key": self._key(name),
            "Body": content,
            "ContentMD5": md5,
            **conditions,
        }
        with suppress(FileExistsError):  # only with a condition: another host was first
            self._call(lambda client: client.put_object(**wanted))

    def _ranged(self, name: str, length: int) -> _Found:
        """At least the first byte: an answer to HEAD has no body, and so no code that says what is wrong."""
        wanted = {"Bucket": self._place.bucket, "Key": self._key(name), "Range": f"bytes=0-{max(length, 1) - 1}"}
        try:
            return self._call(lambda client: _read(client.get_object(**wanted), length))
        except EOFError:  # no range of an empty object can be had
            return _Found(b"", 0, "")

    def _call(self, request: Callable[[Any], _T]) -> _T:
        """Make a request, again where its answer breaks off. Missing, EOFError (no such range), FileExistsError (a condition
        is not met), BackendUnavailable or OutOfSpace say what went wrong.
        """
        for left in reversed(range(_TRIES)):
            try:
                return request(self._connected())
            except Exception as error:  # the library's own, which are known only once it is loaded
                wrong = raised_by(error, self.name, self._place)
                if wrong.forget:
                    self._forget()
                if wrong.error is error:
                    raise
                if not (wrong.again and left):
                    raise wrong.error from (None if wrong.expected else error)
        raise AssertionError  # the last try returns or raises

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = make_client(self._place, self.name)
            return self._client

    def _forget(self) -> None:
        """The credentials were refused: the next request reads their file anew."""
        with self._lock:
            self._client = None


def _read(answer: dict[str, Any], length: int) -> _Found:
    body, comes = answer["Body"], int(answer["ContentLength"])
    if comes > max(length, 1):  # of a server that does not know ranges: the rest may be without an end
        content = body.read(length) if length else b""
        body.close()
    else:
        content = body.read()
    size = int(str(answer.get("ContentRange", "")).rpartition("/")[2] or comes)
    return _Found(content if length else b"", size, str(answer.get("ETag", "")))
