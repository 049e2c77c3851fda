"""Who a token is, and what a tokens file may not say."""

import asyncio
from pathlib import Path

import pytest

from nbdsvc import config, errors
from nbdsvc.api.auth import StaticTokens
from nbdsvc.model.context import READER
from nbdsvc.model.entities import Volume
from nbdsvc.store import migrate, repositories
from nbdsvc.store.database import Database

SECRET = "0123456789abcdef"


def tokens(tmp_path: Path, text: str) -> StaticTokens:
    file = tmp_path / "tokens.toml"
    file.write_text(text)
    file.chmod(0o600)
    return StaticTokens(file)


BAD = {
    "empty project": f'[tokens.a]\ntoken = "{SECRET}"\nproject = ""',
    "empty user": f'[tokens.a]\ntoken = "{SECRET}"\nuser = ""',
    "no role": f'[tokens.a]\ntoken = "{SECRET}"\nroles = []',
    "unknown role": f'[tokens.a]\ntoken = "{SECRET}"\nroles = ["king"]',
    "role that is no text": f'[tokens.a]\ntoken = "{SECRET}"\nroles = [["admin"]]',
    "roles as text": f'[tokens.a]\ntoken = "{SECRET}"\nroles = "admin"',
    "misspelt key": f'[tokens.a]\ntoken = "{SECRET}"\nproyect = "p"',
    "short token": '[tokens.a]\ntoken = "short"',
    "token that is a number": "[tokens.a]\ntoken = 1234567890123456",
    "no table": f'[tokens]\na = "{SECRET}"',
    "no tables": 'tokens = "x"',
    "the same token twice": f'[tokens.a]\ntoken = "{SECRET}"\n[tokens.b]\ntoken = "{SECRET}"\nroles = ["admin"]',
    "not UTF-8": "[tokens.\udcff]",
}


@pytest.mark.parametrize("name", BAD)
def test_a_tokens_file_that_says_nothing_clear_is_refused(tmp_path: Path, name: str) -> None:
    """Each entry that would give an unintended right, or that makes no sense, is a wrong setting."""
    (tmp_path / "tokens.toml").write_bytes(BAD[name].encode(errors="surrogateescape"))
    (tmp_path / "tokens.toml").chmod(0o600)
    with pytest.raises(errors.ConfigError) as caught:
        StaticTokens(tmp_path / "tokens.toml")
    assert SECRET not in str(caught.value)


def test_a_token_says_who_asks_and_no_header_does(tmp_path: Path) -> None:
    """Project and roles are those of the token's entry, whatever other headers claim."""
    found = tokens(tmp_path, f'[tokens.a]\ntoken = "{SECRET}"\nproject = "p"\nroles = ["reader"]')
    headers = {"x-auth-token": SECRET, "x-project-id": "other", "x-user-id": "root", "x-roles": "admin"}
    context = asyncio.run(found.identify(headers, None, "req-1"))
    assert (context.project_id, context.user_id, context.roles) == ("p", "a", {READER})
    for wrong in ("", SECRET[:-1], SECRET + "0"):
        with pytest.raises(errors.Unauthorized):
            asyncio.run(found.identify({"x-auth-token": wrong}, None, "req-1"))


def test_a_project_without_a_name_sees_no_other(tmp_path: Path) -> None:
    """An empty project is a project like any other, not all of them."""
    database = Database(str(tmp_path / "test.db"))
    migrate.upgrade(database)
    with database.write() as conn:
        repositories.volumes.insert(conn, Volume("v", "p", "u", 1, "available", "h", "b", "p"))
        assert repositories.volumes.find(conn, "v", "") is None
        assert repositories.volumes.find(conn, "v", "p")
    database.close()


def test_everybody_an_administrator_on_every_address_is_said_explicitly() -> None:
    """Without `auth` the API listens for this host only; with it, in either value, wherever it is configured to."""
    for address in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(errors.ConfigError, match="listen"):
            config.load(environment={"NBDSVC_LISTEN": address})
        config.load(environment={"NBDSVC_LISTEN": address, "NBDSVC_AUTH": "noauth"})
    for address in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        config.load(environment={"NBDSVC_LISTEN": address})
