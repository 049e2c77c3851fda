"""LVM without LVM: what reports say, and what is decided from them."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.lvm import facts, make, watching
from drivers.lvm.commands import Commands
from drivers.lvm.facts import LogicalVolume, VolumeGroup
from drivers.lvm.watching import Growth, Policy
from nbdsvc import errors
from nbdsvc.process import Runner
from nbdsvc.units import GiB, MiB

GROUP = VolumeGroup("g", 100 * GiB, 10 * GiB, 4 * MiB, 0)
POOL = LogicalVolume("pool", 80 * GiB, "", "", 0, (), "twi-aotz--", 50.0, 10.0, 80 * MiB, "error", True)
SNAPSHOT = LogicalVolume("s", 1 * GiB, "", "v", 10 * GiB, (), "swi-a-s---", 50.0, 0.0, 0, "", False)


def test_a_report_as_data() -> None:
    """Sizes, tags and the letters of lv_attr."""
    row = {
        "lv_name": "volume-1", "lv_size": "4194304", "pool_lv": "pool", "origin": "", "origin_size": "",
        "lv_tags": "other,nbdsvc.owner=op", "lv_attr": "Vwi-aotz-k", "data_percent": "12.50", "metadata_percent": "",
        "lv_metadata_size": "", "lv_when_full": "", "zero": "zero",
    }  # fmt: skip
    found = facts.logical_volumes(json.dumps({"report": [{"lv": [row]}]}))[0]
    assert (found.owner, found.size, found.used, found.virtual_size) == ("op", 4 * MiB, MiB // 2, 4 * MiB)
    assert (found.is_thin, found.active, found.open, found.skipped, found.suspended) == (True, True, True, True, False)
    assert replace(found, attributes="swi-I-s---").overflowed
    assert not replace(found, attributes="Vwi---tz--").active
    ranges = json.dumps(
        {"report": [{"seg": [{"seg_pe_ranges": "/dev/b:0-9 /dev/c:5-7"}, {"seg_pe_ranges": "/dev/b:20-20"}]}]}
    )
    assert facts.extent_ranges(ranges) == ["/dev/b:0-9", "/dev/c:5-7", "/dev/b:20-20"]


def test_a_pool_with_room_is_left_alone() -> None:
    """Below the thresholds nothing is done and nothing said."""
    assert watching.pool(POOL, GROUP, Policy()) == watching.Verdict()


def test_data_grows_by_the_policy_as_far_as_the_group_has_it() -> None:
    """A share of the pool in whole extents; less where less is free; a warning where nothing is, or growing is off."""
    full = replace(POOL, data_percent=80.0)
    assert watching.pool(full, replace(GROUP, free=50 * GiB), Policy()).growths == (Growth("pool", 16 * GiB),)
    assert watching.pool(full, GROUP, Policy()).growths == (Growth("pool", 10 * GiB),)
    assert watching.pool(full, replace(GROUP, free=5 * MiB), Policy()).growths == (Growth("pool", 4 * MiB),)
    for group, policy in ((replace(GROUP, free=3 * MiB), Policy()), (GROUP, Policy(percent=0))):
        verdict = watching.pool(full, group, policy)
        assert verdict.growths == ()
        assert "data of pool is 80 % full" in verdict.warnings[0]


def test_metadata_comes_first() -> None:
    """It doubles, up to what dm-thin can use, and its spare is counted before the data gets what is left."""
    full = replace(POOL, metadata_percent=60.0, data_percent=90.0)
    assert watching.pool(full, replace(GROUP, free=170 * MiB), Policy()).growths == (
        Growth("pool", 80 * MiB, metadata=True), Growth("pool", 8 * MiB),
    )  # fmt: skip
    largest = replace(full, metadata_size=watching.MAX_METADATA, data_percent=1.0)
    assert "metadata of pool is 60 % full" in watching.pool(largest, GROUP, Policy()).warnings[0]


def test_what_would_overrun_a_pool_is_refused() -> None:
    """A pool that is full, or nearly so of metadata, takes nothing new."""
    assert watching.refusal(POOL, Policy()) == ""
    assert "metadata of pool is 90 % full" in watching.refusal(replace(POOL, metadata_percent=90.0), Policy())
    assert watching.refusal(replace(POOL, data_percent=100.0), Policy()) == "pool is full"


def test_a_snapshot_grows_up_to_its_volume() -> None:
    """Before it overflows, never beyond what its volume's whole content takes; a lost one is not fed."""
    full = replace(SNAPSHOT, data_percent=85.0)
    assert watching.snapshot(SNAPSHOT, GROUP, Policy()) == watching.Verdict()
    assert watching.snapshot(full, GROUP, Policy()).growths == (Growth("s", 208 * MiB),)
    whole = replace(full, size=watching.whole(10 * GiB))
    assert watching.snapshot(whole, GROUP, Policy()) == watching.Verdict()
    assert "room of s is 85 % full" in watching.snapshot(full, replace(GROUP, free=0), Policy()).warnings[0]
    assert watching.snapshot(replace(full, attributes="swi-I-s---"), GROUP, Policy()) == watching.Verdict()


def _program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


REPORT = '{"report": [{"lv": []}]}'


def test_a_command_that_hangs_is_ended_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its limit, once: a disk that hangs would hang a repeat too."""
    _program(tmp_path, "lvs", f"echo x >> {tmp_path}/runs; sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(errors.CommandFailed, match=r"no end within 0\.2 s"):
        Commands("g", "b", Runner(), seconds=0.2).volumes()
    assert (tmp_path / "runs").read_text() == "x\n"


def test_a_command_that_crashes_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that dies of SIGSEGV is tried again: it did all or nothing."""
    _program(tmp_path, "lvs", f"[ -e {tmp_path}/died ] || {{ touch {tmp_path}/died; kill -SEGV $$; }}; echo '{REPORT}'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    slept: list[float] = []
    assert Commands("g", "b", Runner(sleep=slept.append)).volumes() == []
    assert slept == [1]


def test_every_command_keeps_to_the_disks_that_are_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No LV is scanned for what a guest made in it, and no disk that this host is an initiator of; or only named disks."""
    _program(tmp_path, "lvs", f"""printf '%s\\n' "$@" > {tmp_path}/argv; echo '{REPORT}'""")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    Commands("g", "b", Runner()).volumes()
    config = (tmp_path / "argv").read_text().split("\n")[1]
    assert "scan_lvs=0" in config
    assert 'filter=["r|^/dev/nbd|"]' in config
    Commands("g", "b", Runner(), devices=["/dev/sdb", "/dev/sdc"]).volumes()
    assert "--devices\n/dev/sdb,/dev/sdc\n" in (tmp_path / "argv").read_text()


def test_the_sweeper_runs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started twice it is one thread, and it ends when nothing is left."""
    from drivers.lvm.clearing import Sweeper

    _program(tmp_path, "lvs", f"echo x >> {tmp_path}/runs; sleep 0.3; echo '{REPORT}'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    before = threading.active_count()
    sweeper = Sweeper(Commands("g", "b", Runner()), "zero")
    sweeper.start()
    sweeper.start()
    assert threading.active_count() == before + 1
    assert sweeper.wait(10)
    assert (tmp_path / "runs").read_text() == "x\n"


@pytest.mark.parametrize("fails", [True, False])
def test_one_lv_that_is_gone_hides_no_failure_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Of several LVs that are removed one is missing: the others are removed, or the error is what keeps them."""
    row = {
        "lv_name": "there", "lv_size": "4194304", "pool_lv": "", "origin": "", "origin_size": "", "lv_tags": "",
        "lv_attr": "-wi-a-----", "data_percent": "", "metadata_percent": "", "lv_metadata_size": "", "lv_when_full": "",
        "zero": "",
    }  # fmt: skip
    _program(tmp_path, "lvs", f"echo '{json.dumps({'report': [{'lv': [row]}]})}'")
    gone = """case "$*" in *g/gone*) echo 'Failed to find logical volume "g/gone"' >&2; broken=1;; esac"""
    why = "echo 'the metadata cannot be written' >&2; broken=1" if fails else ":"
    _program(tmp_path, "lvremove", f'echo "$*" >> {tmp_path}/runs; {gone}; {why}; exit ${{broken:+5}}')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    commands = Commands("g", "b", Runner(tries=1))
    if fails:
        with pytest.raises(errors.CommandFailed, match="the metadata cannot be written") as caught:
            commands.remove("gone", "there")
        assert "Failed to find" not in caught.value.stderr
    else:
        commands.remove("gone", "there")
    assert (tmp_path / "runs").read_text().splitlines()[-1].endswith("--yes --force g/there")


def test_a_wrong_option_is_named_by_itself() -> None:
    """The driver names the option; its setting is the table's that it stands in (test_config.py)."""
    with pytest.raises(errors.ConfigError) as caught:
        make("fast", lvm_type="medium")
    assert (caught.value.setting, caught.value.reason) == ("lvm_type", "must be one of thin, thick")
