# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This collection as one archive: of the same content always the same bytes.

PRIVATE to the collection; may change without notice. Knows no Ansible.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from ansible_collections.holdfast.ops.plugins.module_utils._errors import NotFound
from ansible_collections.holdfast.ops.plugins.module_utils._host._releases import digest_of

NEEDED = ("COPYING", "MANIFEST.json", "galaxy.yml", "meta", "playbooks", "plugins", "roles")
"""What a host needs to run the playbooks; a checkout has a galaxy.yml, an installed collection a MANIFEST.json."""

_CACHES = ("__pycache__",)


@dataclass(frozen=True)
class Packed:
    """An archive (tar, gzip), the version of the collection, and the digest of the tree that it holds."""

    version: str
    digest: str
    data: bytes


def collection_directory() -> Path:
    """Where the collection that is running lies."""
    return Path(__file__).resolve().parents[2]


def pack(directory: Path) -> Packed:
    """Pack a collection.

    Raises:
        NotFound: the directory holds no collection.
    """
    contents = [(path.relative_to(directory).as_posix(), path.read_bytes()) for path in _needed(directory)]
    contents.sort()
    return Packed(
        version=_version(directory),
        digest=digest_of([(name, hashlib.sha256(data).hexdigest()) for name, data in contents]),
        data=_archive(contents),
    )


def _needed(directory: Path) -> Iterator[Path]:
    for name in NEEDED:
        top = directory / name
        yield from [top] if top.is_file() else _below(top)


def _below(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.name.startswith(".") or path.name in _CACHES or path.name.endswith((".pyc", "~")):
            continue
        if path.is_dir():
            yield from _below(path)
        elif path.is_file():
            yield path


def _archive(contents: list[tuple[str, bytes]]) -> bytes:
    """Everything that says who packed where and when is left out."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=6, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in contents:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def _version(directory: Path) -> str:
    manifest, source = directory / "MANIFEST.json", directory / "galaxy.yml"
    if manifest.is_file():
        return str(json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    if source.is_file():
        return str(yaml.safe_load(source.read_text(encoding="utf-8"))["version"])
    raise NotFound(f"{directory} has neither MANIFEST.json nor galaxy.yml: it is no collection.", stage="preflight")
