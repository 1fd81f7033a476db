# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gpg encryption with the real gpg: recipients and passphrases, and what a wrong key gets."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption, NoIdentity
from ansible_collections.holdfast.ops.plugins.module_utils._manifest import Artefact
from ansible_collections.holdfast.ops.plugins.module_utils._stream._codec import Compression, Encryption, Identity
from ansible_collections.holdfast.ops.plugins.module_utils._stream._fanout import FanOut
from ansible_collections.holdfast.ops.plugins.module_utils._stream._read import ArtefactReader
from ansible_collections.holdfast.ops.plugins.module_utils._stream._source import IteratorSource
from ansible_collections.holdfast.ops.plugins.module_utils._stream._write import ArtefactWriter, Stream
from ansible_collections.holdfast.ops.tests.support.faulty import FaultyRepository, no_fault

DATA = os.urandom(3_000_000)


@pytest.fixture
def home() -> Iterator[str]:
    """A GnuPG home of its own: short, because gpg-agent's socket lies in it."""
    with tempfile.TemporaryDirectory(prefix="hf-gpg-", dir="/tmp") as path:
        yield path
        subprocess.run(["gpgconf", "--homedir", path, "--kill", "all"], check=True)


def make_key(home: str, name: str) -> None:
    subprocess.run(
        [
            "gpg",
            "--homedir",
            home,
            "--batch",
            "--quiet",
            "--passphrase",
            "",
            "--quick-gen-key",
            name,
            "rsa2048",
            "encr",
        ],
        check=True,
        capture_output=True,
    )


def store(path: Path, encryption: Encryption) -> tuple[FaultyRepository, Artefact]:
    repository = FaultyRepository("a", str(path / "a"), no_fault, part_size=1 << 20)
    fanout = FanOut([repository])
    encryption.check()
    artefact = ArtefactWriter(fanout, Compression(), encryption).store(
        Stream("x", "dump", IteratorSource(DATA[i : i + 100_000] for i in range(0, len(DATA), 100_000))), "data/"
    )
    fanout.drain()
    fanout.close(abort=False)
    return repository, artefact


def test_to_a_recipient_and_back_with_gpg_itself(tmp_path: Path, home: str) -> None:
    make_key(home, "backup@example.com")
    repository, artefact = store(tmp_path, Encryption("gpg", ("backup@example.com",), gpg_home=home))
    assert artefact.name == "x.zst.gpg"
    assert ArtefactReader(repository, Identity(gpg_home=home)).read_bytes(artefact) == DATA
    by_hand = subprocess.run(
        f"gpg --homedir {home} --batch --quiet --decrypt | zstd -dc",
        shell=True,
        input=(tmp_path / "a/c/data/x.zst.gpg").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert by_hand.stdout == DATA


def test_without_the_private_key_it_is_no_identity(tmp_path: Path, home: str) -> None:
    make_key(home, "backup@example.com")
    repository, artefact = store(tmp_path, Encryption("gpg", ("backup@example.com",), gpg_home=home))
    with tempfile.TemporaryDirectory(prefix="hf-gpg-", dir="/tmp") as other:
        with pytest.raises(NoIdentity, match="no key that decrypts"):
            ArtefactReader(repository, Identity(gpg_home=other)).read_bytes(artefact)
        subprocess.run(["gpgconf", "--homedir", other, "--kill", "all"], check=True)


def test_a_passphrase_both_ways_and_a_wrong_one(tmp_path: Path, home: str) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for file, text in ((right, "correct horse"), (wrong, "battery staple")):
        file.write_text(text)
        file.chmod(0o600)
    repository, artefact = store(tmp_path, Encryption("gpg", passphrase_file=str(right), gpg_home=home))
    assert ArtefactReader(repository, Identity(passphrase_file=str(right), gpg_home=home)).read_bytes(artefact) == DATA
    gpg = ["gpg", "--homedir", home, "--batch", "--pinentry-mode", "loopback", "--passphrase-file", str(right)]
    packets = subprocess.run(
        [*gpg, "--list-packets", str(tmp_path / "a/c/data/x.zst.gpg")], capture_output=True, text=True, check=True
    )
    assert "cipher 9" in packets.stdout  # AES256
    with pytest.raises(NoIdentity):
        ArtefactReader(repository, Identity(passphrase_file=str(wrong), gpg_home=home)).read_bytes(artefact)


def test_a_passphrase_that_others_can_read_is_refused(tmp_path: Path, home: str) -> None:
    file = tmp_path / "passphrase"
    file.write_text("x")
    file.chmod(0o644)
    with pytest.raises(InvalidOption, match="can be read by others"):
        store(tmp_path, Encryption("gpg", passphrase_file=str(file), gpg_home=home))


def test_an_unknown_recipient_is_refused_before_anything_is_read(home: str) -> None:
    with pytest.raises(InvalidOption, match=r"no public key of the recipient 'nobody@example\.com'"):
        Encryption("gpg", ("nobody@example.com",), gpg_home=home).check()
    with pytest.raises(InvalidOption, match="either recipients or a passphrase_file"):
        Encryption("gpg", gpg_home=home).check()
