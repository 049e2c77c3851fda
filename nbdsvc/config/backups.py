"""Where backups go, and how they are made."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbdsvc.config.check import Check

S3 = "s3://"
# A bucket's name as Amazon allows it, and a prefix of such parts as all names in a store have.
_S3_STORE = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_ENDPOINT = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+/?")


@dataclass(frozen=True)
class Backups:
    """Where backups go, and how they are made."""

    # Folder of backups: on another disk or server than the volumes, or both are lost together. Hosts that share an NFS
    # mount name the same one. Or s3://BUCKET or s3://BUCKET/PREFIX, the same for all hosts; the bucket has to be there.
    # Empty: state_dir/backups, which is good for trying things out.
    backup_store: str = ""
    # Of a store in S3: the server (https://HOST:PORT; empty: Amazon's own) and its region.
    backup_s3_endpoint: str = ""
    backup_s3_region: str = "us-east-1"
    # File that only the service may read, as Amazon's tools have it: aws_access_key_id and aws_secret_access_key in the
    # section [default]. It is read anew when they are refused.
    backup_s3_credentials_file: Path | None = None
    # Certificates (PEM) to trust for https in place of the usual ones.
    backup_s3_ca_file: Path | None = None
    # Seconds for which the server may say nothing; a request is tried four times.
    backup_s3_timeout: float = 30.0
    # File of 64 hexadecimal digits (openssl rand -hex 32) that only its owner may read: backups are sealed by this key
    # (AES-256-GCM), and without it nothing of them can be restored. Keep a copy elsewhere. Empty: they are not sealed.
    backup_key_file: Path | None = None
    # Hours between two sweeps by which a host frees what no backup needs (nbdsvc backup gc), for what a deletion could not
    # free, or what a killed service left; 0: none by itself. The first one comes after this time.
    backup_collect_hours: float = 24.0
    # zstd or none.
    backup_compression: str = "zstd"
    # A volume in use is read from a snapshot that is there as long as the backup is being made; off: from a clone.
    backup_use_temp_snapshot: bool = True

    def checks(self) -> Iterator[Check]:
        """The checks that concern these settings alone."""
        in_s3 = self.backup_store.startswith(S3)
        wrong = in_s3 and not _S3_STORE.fullmatch(self.backup_store)
        yield Check(wrong, "backup_store", "must be a folder, s3://BUCKET or s3://BUCKET/PREFIX")
        lacking = in_s3 and self.backup_s3_credentials_file is None
        yield Check(lacking, "backup_s3_credentials_file", "must be set for a store in S3")
        wrong = bool(self.backup_s3_endpoint) and not _ENDPOINT.fullmatch(self.backup_s3_endpoint)
        yield Check(wrong, "backup_s3_endpoint", "must be http(s)://HOST or http(s)://HOST:PORT")
        yield Check(self.backup_s3_timeout <= 0, "backup_s3_timeout", "must be more than 0")
        yield Check(self.backup_collect_hours < 0, "backup_collect_hours", "must not be negative")
        yield Check(self.backup_compression not in ("zstd", "none"), "backup_compression", "must be zstd or none")
