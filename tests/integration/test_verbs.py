# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""backup_info, backup_verify, backup_prune and backup_copy as modules, on a directory and on a real object store."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import data_prefix, manifest_key, utc_now
from ansible_collections.holdfast.ops.plugins.module_utils._operations._lease import leased
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._interface import Repository
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import open_repository
from ansible_collections.holdfast.ops.tests.conftest import DatabaseFactory
from ansible_collections.holdfast.ops.tests.support.memory import commit_backup, note_verification, put, sha
from ansible_collections.holdfast.ops.tests.support.modules import run_module
from ansible_collections.holdfast.ops.tests.support.postgres import EmbeddedPostgres
from ansible_collections.holdfast.ops.tests.support.seaweed import Credentials, SeaweedFS
from ansible_collections.holdfast.ops.tests.support.servers import short_directory
from prometheus_client.parser import text_string_to_metric_families

HOUR = timedelta(hours=1)


class Site:
    """A host's options, and a local and an S3 repository."""

    def __init__(self, top: Path, seaweed: SeaweedFS, bucket: str) -> None:
        self.top, self.seaweed, self.bucket = top, seaweed, bucket
        self.local = {"name": "nas", "type": "local", "path": str(top / "nas")}
        self.tree = top / "tree"
        self.metrics = top / "metrics"
        self.metrics.mkdir()

    def s3(self, who: str = "admin") -> dict[str, Any]:
        keys: Credentials = getattr(self.seaweed, who)
        return {
            "name": "offsite",
            "type": "s3",
            "endpoint_url": self.seaweed.endpoint,
            "bucket": self.bucket,
            "access_key": keys.access_key,
            "secret_key": keys.secret_key,
        }

    def both(self) -> list[dict[str, Any]]:
        return [self.local, self.s3()]

    def run(self, module: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
        common = {
            "component": "shop",
            "repositories": self.both(),
            "state_dir": str(self.top / "state"),
            "scratch_dir": str(self.top / "scratch"),
        }
        return run_module(module, {**common, **options}, check=check, diff=True)

    @contextlib.contextmanager
    def opened(self, spec: dict[str, Any]) -> Iterator[Repository]:
        with contextlib.closing(open_repository(spec, "shop")) as repository:
            yield repository


@pytest.fixture
def site(tmp_path: Path, seaweed: SeaweedFS, bucket: str) -> Site:
    return Site(tmp_path, seaweed, bucket)


def identity(path: Path) -> tuple[str, str]:
    """A new age identity in a file: its path and its recipient."""
    key = pyrage.x25519.Identity.generate()
    path.write_text(str(key))
    path.chmod(0o600)
    return str(path), str(key.to_public())


def tree(site: Site) -> None:
    site.tree.mkdir()
    (site.tree / "notes ü.txt").write_text("small")
    (site.tree / "model.bin").write_bytes(os.urandom(3 * 2**20))


def test_an_encrypted_tree_is_backed_up_verified_listed_and_proved(site: Site) -> None:
    tree(site)
    key, recipient = identity(site.top / "key")
    stranger, _other = identity(site.top / "stranger")
    made = site.run("files_backup", path=str(site.tree), encryption={"method": "age", "recipients": [recipient]})
    assert not made.get("failed"), made
    info = site.run("backup_info")
    (backup,) = info["backups"]
    assert (backup["repositories"], backup["missing_in"], backup["verified"]) == (["nas", "offsite"], [], None)
    assert (backup["encryption"], backup["engine"]) == ("age", "files") and backup["blobs"] > 0
    assert backup["stored_bytes"] > 3 * 2**20 and not info["changed"]

    checked = site.run("backup_verify", level="checksum", textfile_dir=str(site.metrics))
    assert checked["changed"] and [each["ok"] for each in checked["results"]] == [True, True], checked
    for wrong in (None, {"age_file": stranger}):
        refused = site.run("backup_verify", level="archive", identity=wrong, textfile_dir=str(site.metrics))
        assert refused["failed"] and refused["error_code"] == "no_identity", refused
    (file,) = site.metrics.glob("holdfast_verify_*.prom")
    series = {
        (each.name, each.labels.get("level"), each.labels.get("repository")): each.value
        for family in text_string_to_metric_families(file.read_text())
        for each in family.samples
    }
    assert series["holdfast_backup_verify_last_run_success", None, None] == 0
    assert series["holdfast_backup_verify_level_last_run_success", "checksum", "offsite"] == 1
    # Neither refusal is held against the backup.
    (backup,) = site.run("backup_info")["backups"]
    assert backup["verified"]["level"] == "checksum" and backup["last_failure"] is None

    proved = site.run("backup_verify", level="restore", identity={"age_file": key}, rto="1d", rpo="0s")
    assert not proved.get("failed"), proved
    assert all(each["proof"]["proved"] and each["restore_seconds"] > 0 for each in proved["results"])
    assert any("rpo" in str(line) for line in proved["warnings"]), proved
    (backup,) = site.run("backup_info")["backups"]
    assert backup["verified"]["level"] == "restore"
    assert not os.listdir(site.top / "scratch")


@pytest.mark.parametrize("where", ["nas", "offsite"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_damage_in_one_repository_is_named_and_the_other_still_passes(site: Site, where: str, damage: str) -> None:
    backup_id = ""
    with site.opened(site.local) as local, site.opened(site.s3()) as s3:
        moment = utc_now() - HOUR
        backup = commit_backup(local, moment)
        backup_id = backup.id
        for item in list(local.list("")):
            put(s3, item.key, local.read(item.key))
    key = data_prefix(backup_id) + "shop.dump"
    path = site.top / "nas" / "shop" / key
    good = path.read_bytes()
    bad = good[:-1] + b"?" if damage == "flipped" else good[:-1]
    client = site.seaweed.client()
    if where == "nas":
        path.unlink() if damage == "missing" else path.write_bytes(bad)
    elif damage == "missing":
        client.delete_object(Bucket=site.bucket, Key=f"shop/{key}")
    else:
        client.put_object(Bucket=site.bucket, Key=f"shop/{key}", Body=bad)
    result = site.run("backup_verify")
    assert result["failed"] and result["error_code"] == "corrupted" and key in result["msg"], result
    assert {each["repository"]: each["ok"] for each in result["results"]} == {
        "nas": where != "nas",
        "offsite": where != "offsite",
    }
    (told,) = site.run("backup_info")["backups"]
    assert told["verified"]["level"] == "checksum" and told["last_failure"]["level"] == (
        "checksum" if damage == "flipped" else "stat"
    )


def test_rights_are_told_apart(site: Site) -> None:
    with site.opened(site.s3()) as s3:
        commit_backup(s3, utc_now() - HOUR)
    assert site.run("backup_verify", repositories=[site.s3("reader")])["results"][0]["recorded"] is False
    assert site.run("backup_info", repositories=[site.s3("reader")])["total"] == 1
    for module, who, right in [
        ("backup_info", "stranger", "list"),
        ("backup_verify", "lister", "read"),
        ("backup_verify", "writer", "read"),
    ]:
        result = site.run(module, repositories=[site.s3(who)])
        assert result["failed"] and result["error_code"] == "permission_denied", (who, result)
        assert result["right"] == right, (who, result)
    down = {**site.s3(), "endpoint_url": "http://127.0.0.1:9", "connect_timeout": 1, "retries": 0}
    info = site.run("backup_info", repositories=[site.local, down])
    assert not info.get("failed") and info["repositories"]["offsite"]["reachable"] is False and info["warnings"]
    assert site.run("backup_info", repositories=[down])["error_code"] == "unavailable"


@pytest.mark.parametrize("where", ["nas", "offsite"])
def test_prune_shows_its_plan_then_does_it_and_then_has_nothing_to_do(site: Site, where: str) -> None:
    spec = site.local if where == "nas" else site.s3()
    options = {"repositories": [spec], "retention": {"last": 3}, "textfile_dir": str(site.metrics)}
    with site.opened(spec) as repository:
        backups = [commit_backup(repository, utc_now() - age * HOUR) for age in range(1, 7)]
        for backup in backups:
            note_verification(repository, backup.id, utc_now())
        put(repository, "manifests/stranger.txt", b"mine")
        before = sorted(item.key for item in repository.list(""))

        planned = site.run("backup_prune", check=True, **options)
        assert planned["changed"] and sorted(item.key for item in repository.list("")) == before
        gone = [line for line in planned["diff"]["before"].splitlines() if line not in planned["diff"]["after"]]
        assert len(gone) == 3 and all("kept by no rule (last 3)" in line for line in gone)
        assert not list(site.metrics.iterdir())

        with leased(repository):
            held = site.run("backup_prune", **options)
        assert held["failed"] and held["error_code"] == "locked" and str(os.getpid()) in held["msg"]

        done = site.run("backup_prune", **options)
        assert done["repositories"][where]["deleted"] == [each.id for each in reversed(backups[3:])]
        left = {item.key for item in repository.list("")}
        assert not [key for key in left for each in backups[3:] if each.id in key]
        for each in backups[:3]:
            assert manifest_key(each.id) in left
            assert all(sha(repository.read(part.key)) == part.sha256 for part in each.objects())
        again = site.run("backup_prune", **options)
        assert not again["changed"] and "0 backups deleted" in again["msg"]
        assert "manifests/stranger.txt" in left
    text = "".join(path.read_text() for path in site.metrics.iterdir())
    assert f'holdfast_backup_snapshots{{component="shop",repository="{where}"}} 3' in text


def test_prune_goes_on_with_the_other_repository_when_one_is_down(site: Site) -> None:
    down = {**site.s3(), "endpoint_url": "http://127.0.0.1:9", "connect_timeout": 1, "retries": 0}
    with site.opened(site.local) as local:
        for age in range(1, 6):
            note_verification(local, commit_backup(local, utc_now() - age * HOUR).id, utc_now())
    result = site.run("backup_prune", repositories=[down, site.local], retention={"last": 3})
    assert result["failed"] and result["error_code"] == "unavailable" and list(result["errors"]) == ["offsite"]
    assert len(result["repositories"]["nas"]["deleted"]) == 2 and result["changed"]


def test_a_policy_that_cannot_be_right_is_refused(site: Site) -> None:
    for options in ({"retention": {}}, {"retention": {"last": 0}}, {"retention": {"last": 3}, "blob_grace": "1d"}):
        result = site.run("backup_prune", **options)
        assert result["failed"] and result["error_code"] == "invalid_option", result


def test_copies_there_and_back_are_the_same_backup(site: Site) -> None:
    tree(site)
    key, recipient = identity(site.top / "key")
    site.run(
        "files_backup",
        path=str(site.tree),
        repositories=[site.local],
        encryption={"method": "age", "recipients": [recipient]},
    )
    (backup,) = site.run("backup_info")["backups"]
    assert backup["missing_in"] == ["offsite"]
    planned = site.run("backup_copy", destination="offsite", check=True)
    assert planned["changed"] and backup["backup_id"] in planned["diff"]["after"]
    assert not site.seaweed.keys(site.bucket, "shop/")
    copied = site.run("backup_copy", destination="offsite", textfile_dir=str(site.metrics))
    assert not copied.get("failed"), copied
    assert copied["copied"] == [backup["backup_id"]] and copied["sent_bytes"] > 3 * 2**20, copied
    assert not site.run("backup_copy", destination="offsite")["changed"]
    with site.opened(site.local) as local, site.opened(site.s3()) as s3:
        mine = {item.key: sha(local.read(item.key)) for item in local.list("")}
        theirs = {item.key: sha(s3.read(item.key)) for item in s3.list("") if "probe" not in item.key}
        sums = data_prefix(backup["backup_id"]) + "SHA256SUMS"
        listed = [line.split("  ") for line in s3.read(sums).decode().splitlines()]
    assert {key: digest for key, digest in theirs.items() if key != sums}.items() <= mine.items()
    assert manifest_key(backup["backup_id"]) in theirs
    assert listed and all(theirs[data_prefix(backup["backup_id"]) + name] == digest for digest, name in listed)
    third = {"name": "third", "type": "local", "path": str(site.top / "third")}
    back = site.run("backup_copy", repositories=[site.s3(), third], destination="third")
    assert back["copied"] == [backup["backup_id"]]
    proved = site.run("backup_verify", repositories=[third], level="restore", identity={"age_file": key})
    assert not proved.get("failed") and proved["results"][0]["proof"]["proved"], proved
    (told,) = site.run("backup_info", repositories=[site.local, site.s3(), third])["backups"]
    assert [each["verified"] is not None for each in told["copies"]] == [False, False, True]


def test_copy_refuses_what_makes_no_sense(site: Site) -> None:
    for options in (
        {"destination": "nowhere"},
        {"destination": "nas"},
        {"destination": "offsite", "source": "x"},
        {"destination": "offsite", "backup_id": "newest"},
    ):
        result = site.run("backup_copy", **options)
        assert result["failed"] and result["error_code"] == "invalid_option", result
    nothing = site.run("backup_copy", destination="offsite")
    assert not nothing["changed"] and nothing["copied"] == []


def test_the_history_is_told_of_verifications(site: Site, pg18: EmbeddedPostgres, database: DatabaseFactory) -> None:
    name = database(pg18)
    tree(site)
    history = {"host": str(pg18.socket_dir), "port": pg18.port, "user": "postgres", "database": name}
    made = site.run("files_backup", path=str(site.tree), history=history)
    site.run("backup_verify", history=history)
    rows = pg18.query("select backup_id, status, verified_level, verified_ok from backup_history", name)
    assert rows == [(made["backup_id"], "success", "checksum", True)]


def test_a_database_is_verified_by_restoring_it(site: Site, pg18: EmbeddedPostgres, database: DatabaseFactory) -> None:
    name = database(pg18)
    pg18.psql("create table t as select g as id, md5(g::text) as word from generate_series(1, 5000) g", db=name)
    server = {"login_unix_socket": str(pg18.socket_dir), "login_port": pg18.port, "bin_dir": str(pg18.bin_dir)}
    made = site.run("postgresql_backup", database=name, fingerprint="digest", repositories=[site.local], **server)
    assert not made.get("failed"), made
    outside = short_directory("hf-verify-")  # a scratch cluster's user cannot walk into pytest's directories
    outside.chmod(0o711)
    scratch = outside / "scratch"
    proved = site.run(
        "backup_verify", level="restore", repositories=[site.local], postgresql=server, scratch_dir=str(scratch)
    )
    left = list(scratch.iterdir())
    shutil.rmtree(outside)
    assert left == [] and not proved.get("failed"), proved
    (result,) = proved["results"]
    assert result["level"] == "restore" and result["proof"]["proved"] and result["proof"]["checked"] > 0
    assert [each for each in pg18.databases() if name in each] == [name]
