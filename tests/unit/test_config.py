"""Settings: files, environment, and every wrong one named."""

from pathlib import Path

import pytest

from nbdsvc import config, errors


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
     ("host", "a@b"), ("num_shell_tries", "0"), ("max_copies", "0"), ("nbd_first_port", "60000"),
     ("driver_options", "fast, thick")],
)  # fmt: skip
def test_a_wrong_setting_is_named(setting: str, value: str) -> None:
    """An unknown key and a value that makes no sense are ConfigErrors that name it."""
    with pytest.raises(errors.ConfigError) as caught:
        config.load(None, {f"NBDSVC_{setting.upper()}": value})
    assert setting in str(caught.value) or caught.value.facts["setting"] in ("tokens_file", "nbd_last_port")
