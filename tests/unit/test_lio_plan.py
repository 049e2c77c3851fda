"""What is done to LIO, decided without it."""

from dataclasses import replace

from nbdsvc.exports.lio.plan import BLOCK, FILE, Config, ExportAccess, Portal, Source, desired, plan

PATH = "/dev/cinder-volumes/volume-v"


def config_of(source: Source) -> Config:
    grant = ExportAccess("iqn.2026-11.org.example:one", "user", "password", read_only=False)
    return desired("volume-v", "v", source, [grant], [Portal("127.0.0.1", 3260)])


def test_a_disk_in_use_stays_of_its_kind() -> None:
    """A device that is to be written through from now on is served as it was: its initiators keep their disk."""
    found, wanted = config_of(Source(BLOCK, PATH)), config_of(Source(FILE, PATH))
    assert plan(found, wanted) == plan(wanted, found) == []


def test_another_path_is_another_disk() -> None:
    """What serves other bytes goes first, with the LUN that it is behind."""
    wanted = config_of(Source(FILE, PATH))
    assert wanted.backstore
    found = replace(wanted, backstore=replace(wanted.backstore, source=Source(FILE, "/dev/cinder-volumes/another")))
    assert [each.verb for each in plan(found, wanted)] == [
        "remove_lun", "remove_backstore", "make_backstore", "make_lun", "allow",
    ]  # fmt: skip
