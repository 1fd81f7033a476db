# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of the backup of PostgreSQL: names, quoting, packs, comparisons, what tools' words mean."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import socket
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils import _errors
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg import (
    _by_hand,
    _directory,
    _faults,
    _fingerprint,
)
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._catalog import Relation
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._selection import Pattern, Selection
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._server import conninfo
from ansible_collections.holdfast.ops.plugins.module_utils._engines._pg._sql import identifier, literal
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Artefact, StoredPart
from ansible_collections.holdfast.ops.plugins.module_utils._process import Account, Process
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20)


def relation(oid: int, name: str, schema: str = "app", **more: Any) -> Relation:
    given_ = {"kind": "r", "persistence": "p", "bytes": 0, "estimate": 0, "condition": None, "configuration": False}
    rights = {"readable": True, "row_security": False, "parents": None, "owned_by": None}
    return Relation(**{"oid": oid, "schema": schema, "name": name, **given_, **rights, **more})


class TestNames:
    @given(NAMES, NAMES)
    def test_what_is_quoted_means_itself_and_nothing_else(self, schema: str, name: str) -> None:
        pattern = Pattern.parse(identifier(schema, name), "tables", 2)
        assert pattern.matches(schema, name)
        assert not pattern.matches(schema, name + "x")
        assert not pattern.matches("x" + schema, name)

    @pytest.mark.parametrize(
        ("pattern", "meant", "not_meant"),
        [
            ("events", [("app", "events"), ("x", "events")], [("app", "Events"), ("app", "events2")]),
            ("app.e*", [("app", "events"), ("app", "e")], [("x", "events"), ("app", "fe")]),
            ("*.t?", [("a", "t1"), ("b", "tt")], [("a", "t"), ("a", "t12")]),
            ('"a.b".t', [("a.b", "t")], [("a", "b.t")]),
            ('"*".t', [("*", "t")], [("x", "t")]),
            ('a."say ""hi"""', [("a", 'say "hi"')], []),
        ],
    )
    def test_wildcards(self, pattern: str, meant: list[Any], not_meant: list[Any]) -> None:
        parsed = Pattern.parse(pattern, "tables", 2)
        assert all(parsed.matches(*names) for names in meant)
        assert not any(parsed.matches(*names) for names in not_meant)

    @pytest.mark.parametrize("text", ["", ".", "a.", ".b", "a.b.c", '"open', 'a."'])
    def test_what_is_no_name(self, text: str) -> None:
        with pytest.raises(_errors.InvalidOption, match="tables"):
            Pattern.parse(text, "tables", 2)

    @given(NAMES)
    def test_pg_dump_gets_names_that_it_takes_literally(self, name: str) -> None:
        selection = Selection.from_options({"tables": [identifier("app", name)]})
        (argument, _extensions) = selection.arguments([relation(1, name)], ["app"], 18)
        assert argument == f"--table={identifier('app', name)}"


class TestSelection:
    TREE = (
        relation(1, "events", kind="p"),
        relation(2, "events_a", kind="p", parents=[1]),
        relation(3, "events_a_1", parents=[2]),
        relation(4, "other"),
        relation(5, "other_id_seq", kind="S", owned_by=4),
    )

    def chosen(self, method: str, **options: Any) -> set[int]:
        return {found.oid for found in getattr(Selection.from_options(options), method)(self.TREE)}

    def test_children_follow_at_any_depth(self) -> None:
        assert self.chosen("dumped", tables=["events"]) == {1, 2, 3}
        assert self.chosen("dumped", exclude_tables=["events_a"]) == {1, 4, 5}
        assert self.chosen("with_data", exclude_table_data=["events"]) == {4, 5}

    def test_a_sequence_goes_with_its_table(self) -> None:
        assert self.chosen("dumped", tables=["other"]) == {4, 5}
        assert self.chosen("dumped", exclude_tables=["other"]) == {1, 2, 3}

    def test_everything_is_everything(self) -> None:
        assert self.chosen("with_data") == {1, 2, 3, 4, 5}
        assert Selection.from_options({}).arguments(self.TREE, ["app"], 18) == []


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")))
def test_quoting_round_trips(text: str) -> None:
    assert literal(text)[1:-1].replace("''", "'") == text
    assert identifier(text)[1:-1].replace('""', '"') == text
    (value,) = re.findall(r"(?s)^dbname='(.*)'$", conninfo({"dbname": text}))
    assert re.sub(r"(?s)\\(.)", r"\1", value) == text


class TestDirectory:
    def test_a_tar_that_tar_reads(self, tmp_path: Path) -> None:
        contents = {"1.dat": b"", "2.dat": b"x" * 511, "3.dat": b"y" * 512, "toc.dat": b"z" * 3_000_001}
        for name, data in contents.items():
            (tmp_path / name).write_bytes(data)
        with contextlib.closing(_directory.Directory(str(tmp_path), None)) as directory:
            files = sorted(directory.listing(), key=lambda file: file.name)
            packed = b"".join(_directory.tar_source(directory, files).chunks())
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            read = {member.name: archive.extractfile(member) for member in archive}
            assert {name: file.read() for name, file in read.items() if file} == contents

    def test_a_file_that_shrinks_is_no_backup(self, tmp_path: Path) -> None:
        (tmp_path / "1.dat").write_bytes(b"x" * 10)
        directory = _directory.Directory(str(tmp_path), None)
        with contextlib.closing(directory), pytest.raises(_errors.InternalError, match="shrank"):
            list(_directory.tar_source(directory, [_directory.Finished("1.dat", 11)]).chunks())

    @pytest.mark.parametrize("kind", ["link", "second name", "pipe", "directory", "socket"])
    def test_what_is_no_file_of_pg_dump_is_not_read(self, tmp_path: Path, kind: str) -> None:
        (tmp_path / "secret").write_bytes(b"x")
        place = tmp_path / "1.dat"
        with contextlib.ExitStack() as stack:
            if kind == "link":
                place.symlink_to(tmp_path / "secret")
            elif kind == "second name":
                os.link(tmp_path / "secret", place)
            elif kind == "pipe":
                os.mkfifo(place)
            elif kind == "directory":
                place.mkdir()
            else:
                stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(place))
            directory = stack.enter_context(contextlib.closing(_directory.Directory(str(tmp_path), None)))
            with pytest.raises(_errors.Refused):
                directory.open("1.dat")

    def test_a_directory_of_somebody_else_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path)
        with pytest.raises(_errors.Refused):
            _directory.Directory(str(tmp_path), Account("other", os.geteuid() + 1, 0, "/"))
        with pytest.raises(_errors.Refused):
            _directory.Directory(str(tmp_path / "link"), None)

    @given(st.lists(st.integers(0, 3 * _directory.PACK), max_size=30), st.booleans())
    def test_packs(self, sizes: list[int], everything: bool) -> None:
        files = [_directory.Finished(str(number), size) for number, size in enumerate(sizes)]
        found = _directory.packs(files, everything)
        sent = [file for pack in found for file in pack]
        assert len(set(sent)) == len(sent)
        if everything:
            assert set(sent) == set(files)
        for pack in found:
            assert len(pack) == 1 or all(file.size < _directory.PACK for file in pack)
        left = sum(file.size for file in files if file not in sent)
        assert left < _directory.PACK

    def test_an_open_file_is_not_finished(self, tmp_path: Path) -> None:
        path = tmp_path / "1.dat"
        with path.open("wb"):
            assert str(path) in _directory.open_files(os.getpgrp())
        assert str(path) not in _directory.open_files(os.getpgrp())

    def test_the_last_bytes_of_a_finished_file_count(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """pg_dump may write on and close between the look at the directory and the look at what is open."""
        path = tmp_path / "1.dat"
        path.write_bytes(b"first half")

        def meanwhile(group: int) -> set[str]:
            path.write_bytes(b"first half and second half")
            return set()

        monkeypatch.setattr(_directory, "open_files", meanwhile)
        running = Process(["sleep", "60"])
        with contextlib.closing(_directory.Directory(str(tmp_path), None)) as directory:
            found, ended = _directory.finished_files(directory, running)
        running.terminate()
        assert not ended
        assert found == [_directory.Finished("1.dat", len(b"first half and second half"))]

    def test_a_file_that_is_longer_than_was_seen_is_never_cut(self, tmp_path: Path) -> None:
        (tmp_path / "1.dat").write_bytes(b"more than that")
        with contextlib.closing(_directory.Directory(str(tmp_path), None)) as directory:
            source = _directory.tar_source(directory, [_directory.Finished("1.dat", 4)])
            with pytest.raises(_errors.InternalError, match="grew after"):
                list(source.chunks())


class TestComparison:
    WAS: ClassVar[dict[str, Any]] = {
        "level": "digest",
        "tables": {"t": {"rows": 3, "digest": "9"}},
        "sequences": {"up": {"value": 5, "called": True, "step": 1}, "down": {"value": -5, "called": True, "step": -1}},
        "extensions": {"vector": "0.10.0"},
        "large_objects": {"count": 1, "digest": "7"},
        "objects": {"index": {"count": 2, "names": "a"}},
    }

    def changed(self, part: str, **values: Any) -> _fingerprint.Comparison:
        return _fingerprint.compare(self.WAS, {**self.WAS, part: {**self.WAS[part], **values}})

    def test_equal(self) -> None:
        found = _fingerprint.compare(self.WAS, self.WAS)
        assert (found.differences, found.checked) == ((), 6)

    @pytest.mark.parametrize(
        ("part", "values", "differs"),
        [
            ("sequences", {"up": {"value": 6, "called": False, "step": 1}}, False),
            ("sequences", {"up": {"value": 5, "called": False, "step": 1}}, True),
            ("sequences", {"up": {"value": 4, "called": True, "step": 1}}, True),
            ("sequences", {"down": {"value": -6, "called": True, "step": -1}}, False),
            ("sequences", {"down": {"value": -4, "called": True, "step": -1}}, True),
            ("extensions", {"vector": "0.9.9"}, True),
            ("extensions", {"vector": "0.10.1"}, False),
            ("extensions", {"vector": "1.0"}, False),
            ("tables", {"t": {"rows": 2, "digest": "9"}}, True),
            ("tables", {"t": {"rows": 3, "digest": "8"}}, True),
            ("tables", {"u": {"rows": 0, "digest": "0"}}, True),
            ("large_objects", {"count": 2}, True),
            ("large_objects", {"digest": "8"}, True),
            ("objects", {"index": {"count": 1, "names": "a"}}, True),
            ("objects", {"index": {"count": 2, "names": "b"}}, True),
            ("objects", {"view": {"count": 1, "names": "b"}}, True),
        ],
    )
    def test_each_part(self, part: str, values: dict[str, Any], differs: bool) -> None:
        found = self.changed(part, **values)
        assert bool(found.differences) == differs, found
        assert bool(found.notes) == (part == "extensions" and not differs)

    def test_what_is_missing_is_said(self) -> None:
        nothing = {"level": "digest", "tables": {}}
        said = " ".join(_fingerprint.compare(self.WAS, nothing).differences)
        for what in ("table t", "sequence up", "extension vector", "large objects", "kind index"):
            assert what in said

    def test_only_what_was_restored(self) -> None:
        found = _fingerprint.compare(self.WAS, {"tables": {"t": {"rows": 3, "digest": "9"}}}, only={"t"})
        assert (found.checked, found.differences) == (1, ())


class TestWords:
    @pytest.mark.parametrize(
        ("said", "code"),
        [
            ('FATAL:  password authentication failed for user "x"', "authentication_failed"),
            ("fe_sendauth: no password supplied", "authentication_failed"),
            ('FATAL:  no pg_hba.conf entry for host "::1", user "x", database "y", SSL off', "authentication_failed"),
            ('FATAL:  pg_hba.conf rejects connection for host "::1", user "x", no encryption', "authentication_failed"),
            ('FATAL:  Peer authentication failed for user "x"', "authentication_failed"),
            ('FATAL:  certificate authentication failed for user "x"', "tls_failed"),
            ("FATAL:  connection requires a valid client certificate", "tls_failed"),
            ('FATAL:  database "x" does not exist', "not_found"),
            ("connection failed: Connection refused\n\tIs the server running on that host?", "unavailable"),
            ("SSL error: certificate verify failed", "tls_failed"),
            ("server does not support SSL, but SSL was required", "tls_failed"),
            ("connection to server failed: timeout expired", "timeout"),
            ("ERROR:  permission denied for table t", "permission_denied"),
            ('ERROR:  query would be affected by row-level security policy for table "t"', "permission_denied"),
            ("could not write to file: No space left on device", "disk_full"),
            ('ERROR:  out of shared memory\nHINT:  increase "max_locks_per_transaction"', "unsupported"),
            ('ERROR:  relation "public.ssl_certificate" does not exist', None),
            ('ERROR: x\npg_dump: detail: Query was: LOCK TABLE public."Connection refused"', None),
        ],
    )
    def test_they_mean(self, said: str, code: str | None) -> None:
        error = _faults.words_error(said)
        assert (error.code if error else None) == code

    @pytest.mark.parametrize(
        ("state", "code"),
        [
            ("28P01", "authentication_failed"),
            ("3D000", "not_found"),
            ("42501", "permission_denied"),
            ("55P03", "locked"),
            ("57014", "timeout"),
            ("57P01", "unavailable"),
            ("53100", "disk_full"),
            ("22012", "tool_failed"),
        ],
    )
    def test_states_do_not_depend_on_the_language(self, state: str, code: str) -> None:
        assert _faults.statement_error(state, "Etwas ist schiefgegangen").code == code


@pytest.mark.parametrize("database", ["shop", "-x", "a b; rm -rf /", "it's", "$(id)", "ü\n"])
def test_the_lines_by_hand_are_safe_for_a_shell(database: str) -> None:
    objects = tuple(StoredPart(f"data/x/it's {n}", 1, "0") for n in range(2))
    artefact = Artefact("it's", "dump", 1, 1, "0", objects, compression="zstd", encryption="age")
    lines = [*_by_hand.custom_by_hand(database, artefact), *_by_hand.directory_by_hand(database, [artefact])]
    for line in lines:
        assert "\n" not in line
        if not line.startswith("#"):
            words = shlex.split(line)
            assert not {"rm", "$(id)", "/"} & set(words)
    assert any('"it\'s 0"' in line or "it's 0" in shlex.split(line) for line in lines)
    assert 'age -d -i "$KEY" | zstd -dc | pg_restore --exit-on-error --create --dbname=postgres' in lines[1]
