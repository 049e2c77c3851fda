"""Settings: files, environment, and every wrong one named."""

import tempfile
from pathlib import Path

import pytest

from nbdsvc import compose, config, errors
from nbdsvc.store.database import Database


@pytest.mark.row("S005")
def test_files_then_environment_then_options(tmp_path: Path) -> None:
    """Later sources win; types follow the defaults."""
    file = tmp_path / "n.toml"
    file.write_text(
        'port = 1\nlisten = "::1"\ndriver = "memory"\nimage_paths = ["/a", "/b"]\n[driver_options]\ncapacity = 5\n'
    )
    found = config.load(file, {"NBDSVC_PORT": "2", "NBDSVC_IMAGE_HTTP": "false", "OTHER": "x"}, port=3)
    assert (found.port, found.listen, found.driver, found.image_http) == (3, "::1", "memory", False)
    assert (found.image_paths, found.driver_options) == (("/a", "/b"), {"capacity": 5})


@pytest.mark.parametrize("text", ["capacity = 5\nname = 'x, y'", "capacity = 5, name = 'x, y'"])
def test_a_drivers_options_in_one_variable(text: str) -> None:
    """Lines of TOML, or all on one line."""
    found = config.load(None, {"NBDSVC_DRIVER_OPTIONS": text})
    assert found.driver_options == {"capacity": 5, "name": "x, y"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [("colour", "red"), ("port", "x"), ("port", "99999"), ("auth", "maybe"), ("auth", "token"), ("image_http", "perhaps"),
     ("host", "a@b"), ("host", "a#b"), ("host", "a/b"), ("num_shell_tries", "0"), ("max_copies", "0"), ("nbd_first_port", "60000"),
     ("driver_options", "fast, thick"), ("cluster", "a@b"), ("cluster", "a#b"), ("cluster", "a/b"), ("cluster", " "), ("cluster", "a "),
     ("cluster", "a\x07"), ("cluster", "k" * 255), ("backup_store", "s3://"), ("backup_store", "s3://Bucket"),
     ("backup_store", "s3://bucket/../x"), ("backup_store", "s3://bucket//x"), ("backup_s3_endpoint", "http://u:p@host"),
     ("backup_s3_endpoint", "host"), ("backup_s3_timeout", "0"), ("backup_collect_hours", "-1")],
)  # fmt: skip
def test_a_wrong_setting_is_named(setting: str, value: str) -> None:
    """An unknown key and a value that makes no sense are ConfigErrors that name it."""
    with pytest.raises(errors.ConfigError) as caught:
        config.load(None, {f"NBDSVC_{setting.upper()}": value})
    assert setting in str(caught.value) or caught.value.facts["setting"] in ("tokens_file", "nbd_last_port")


def test_without_tables_there_is_one_backend() -> None:
    """driver, backend, exporter and driver_options describe it, and its pool is where it always was."""
    found = config.load(
        None, {"NBDSVC_DRIVER": "memory", "NBDSVC_BACKEND": "b", "NBDSVC_DRIVER_OPTIONS": "capacity = 5"}
    )
    (backend,) = found.served_backends.values()
    assert (list(found.served_backends), backend.driver, backend.exporters) == (["b"], "memory", ("nbd",))
    assert (backend.options, found.pool_folder("b")) == ({"capacity": 5}, found.state_dir / "pool")


def test_a_table_for_each_backend(tmp_path: Path) -> None:
    """Each has its own values; what it leaves out is as in the settings of one backend, but for the driver's options."""
    file = tmp_path / "n.toml"
    file.write_text(
        'max_copies = 9\niscsi_portals = ["127.0.0.1"]\n[driver_options]\ncapacity = 1\n'
        '[backends.fast]\ndriver = "lvm"\nexporters = ["nbd", "iscsi"]\noptions = { volume_group = "v" }\n'
        '[backends.bulk]\ndriver = "file"\nmax_copies = 2\ncapabilities = { tier = "slow" }\n'
    )
    found = config.load(file, {})
    fast, bulk = found.served_backends.values()
    assert (fast.exporters, fast.options, fast.max_copies) == (("nbd", "lio"), {"volume_group": "v"}, 9)
    assert (bulk.options, bulk.max_copies, bulk.capabilities) == ({}, 2, {"tier": "slow"})
    assert found.pool_folder("bulk") == found.state_dir / "pools" / "bulk"


def test_the_cluster_of_a_backend() -> None:
    """That of its host, unless its table names another one, or none. A cluster has not its host's name."""
    tables = "a.driver = 'file', b = { driver = 'file', cluster = 'other' }, c = { driver = 'lvm', cluster = '' }"
    found = config.load(None, {"NBDSVC_CLUSTER": "k", "NBDSVC_BACKENDS": tables})
    assert [each.cluster for each in found.served_backends.values()] == ["k", "other", ""]
    assert config.load(None, {}).served_backends["file"].cluster == ""
    with pytest.raises(errors.ConfigError, match="must not be the host's own name"):
        config.load(None, {"NBDSVC_CLUSTER": "k", "NBDSVC_HOST": "k"})


@pytest.mark.parametrize(
    ("tables", "named"),
    [("fast = 1", "backends.fast"), ("fast.drive = 'x'", "backends.fast.drive"), ("fast = {}", "backends.fast.driver"),
     ("'a@b'.driver = 'file'", "backends.a@b"), ("'a#b'.driver = 'file'", "backends.a#b"), ("f = { driver = 'file', exporters = ['smb'] }", "backends.f.exporters"),
     ("f = { driver = 'file', max_copies = 0 }", "backends.f.max_copies"),
     ("f = { driver = 'file', copy_rate = 'fast' }", "backends.f.copy_rate"),
     ("f = { driver = 'file', cluster = 'a@b' }", "backends.f.cluster"),
     ("f = { driver = 'file', cluster = 'KKKK' }".replace("KKKK", "k" * 254), "backends.f.cluster"),
     ("f = { driver = 'file', exporters = ['iscsi'] }", "iscsi_portals")],
)  # fmt: skip
def test_a_wrong_setting_of_a_backend_is_named(tables: str, named: str) -> None:
    """With the backend that has it."""
    with pytest.raises(errors.ConfigError) as caught:
        config.load(None, {"NBDSVC_BACKENDS": tables})
    assert caught.value.facts["setting"] == named


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"DRIVER": "nosuch"}, "driver"), ({"BACKENDS": "fast = { driver = 'nosuch' }"}, "backends.fast.driver"),
     ({"DRIVER": "lvm", "DRIVER_OPTIONS": "lvm_type = 'medium'"}, "driver_options.lvm_type"),
     ({"BACKENDS": "fast = { driver = 'lvm', options = { lvm_type = 'medium' } }"}, "backends.fast.options.lvm_type"),
     ({"BACKENDS": "fast = { driver = 'lvm', options = { lvm_type = 'thick', clearing = 'burn' } }"},
      "backends.fast.options.clearing"),
     ({"BACKUP_STORE": "s3://bucket/x"}, "backup_s3_credentials_file"),
     ({"BACKUP_STORE": "s3://bucket", "BACKUP_S3_CREDENTIALS_FILE": "/nowhere"}, "backup_s3_credentials_file")],
)  # fmt: skip
def test_a_wrong_driver_or_option_of_one_is_named(tmp_path: Path, settings: dict[str, str], named: str) -> None:
    """By the setting in which it stands, in a backend's table too."""
    with (
        tempfile.TemporaryDirectory(prefix="nb-", dir="/var/tmp") as state,
        pytest.raises(errors.ConfigError) as caught,
    ):
        environment = {"NBDSVC_STATE_DIR": state} | {f"NBDSVC_{key}": value for key, value in settings.items()}
        compose.make_host(config.load(None, environment), Database(str(tmp_path / "x.db")))
    assert caught.value.setting == named


def test_folders_are_absolute() -> None:
    """An export's server starts in / and outlives the service, so no path that it is given may be relative."""
    found = config.load(None, {"NBDSVC_STATE_DIR": "state", "NBDSVC_POOL": "pool", "NBDSVC_IMAGES": "images"})
    assert [found.state_dir, found.pool_path, found.images_path] == [
        Path.cwd() / each for each in ("state", "pool", "images")
    ]
