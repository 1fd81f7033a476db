# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of an S3 repository that cannot be right are refused before anything is sent; secrets are not repeated."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import InvalidOption, MissingDependency
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._registry import open_repository
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3 import S3Repository
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3_client import SEND_CHUNK, Body, connect
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3_options import (
    credentials,
    is_aws,
    with_defaults,
)
from hypothesis import given
from hypothesis import strategies as st

GOOD = {"bucket": "b", "endpoint_url": "http://127.0.0.1:1", "access_key": "AK", "secret_key": "SK-secret"}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"bucket": None}, "bucket"),
        ({"bucket": ""}, "bucket"),
        ({"endpoint_url": "s3.example.com"}, "http"),
        ({"endpoint_url": "ftp://s3.example.com"}, "http"),
        ({"endpoint_url": "https://"}, "http"),
        ({"part_size": "4MiB"}, "part_size"),
        ({"part_size": "33MiB"}, "part_size"),
        ({"part_size": "much"}, "part_size"),
        ({"max_parts": 0}, "max_parts"),
        ({"parallel": 0}, "parallel"),
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"read_timeout": 0}, "read_timeout"),
        ({"stall_timeout": 0}, "stall_timeout"),
        ({"retries": -1}, "retries"),
        ({"object_lock_days": 0}, "object_lock_days"),
        ({"sse_kms_key_id": "k"}, "sse"),
        ({"secret_key": None}, "secret_key"),
        ({"access_key": None}, "access_key"),
        ({"credentials_file": "/x"}, "credentials_file"),
        ({"ca_file": "/nowhere/ca.pem"}, "/nowhere/ca.pem"),
        ({"access_key": None, "secret_key": None, "profile": "no-such-profile"}, "no-such-profile"),
    ],
    ids=str,
)
def test_what_cannot_be_right_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidOption, match=word) as caught:
        S3Repository("primary", {**GOOD, **change})
    assert "primary" in caught.value.message
    assert "SK-secret" not in str(caught.value)


def test_a_password_in_the_endpoint_is_not_repeated() -> None:
    with pytest.raises(InvalidOption) as caught:
        S3Repository("primary", {**GOOD, "endpoint_url": "https://me:hush@s3.example.com"})
    assert "hush" not in str(caught.value)


def test_the_defaults_and_what_they_mean() -> None:
    repository = S3Repository("primary", {**GOOD, "part_size": None})
    assert repository.part_size == 16 * 1024 * 1024
    assert (repository.max_parts, repository.parallel, repository.stall_timeout) == (10000, 3, 120.0)
    assert repository.single_pruner is False
    repository.close()


def test_a_declared_repository_is_opened_with_the_component_in_its_prefix() -> None:
    repository = open_repository({"name": "primary", "type": "s3", **GOOD, "prefix": "/team/"}, "web_db")
    assert isinstance(repository, S3Repository)
    assert repository._key("manifests/x") == "team/web_db/manifests/x"
    repository.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, True),
        ("https://s3.eu-central-1.amazonaws.com", True),
        ("https://s3.cn-north-1.amazonaws.com.cn", True),
        ("https://s3.example.com", False),
        ("https://amazonaws.com.example.com", False),
    ],
)
def test_which_endpoints_are_aws(url: str, expected: bool) -> None:
    assert is_aws(url) is expected


def test_elsewhere_than_on_aws_a_region_is_assumed() -> None:
    assert S3Repository("p", GOOD)._client.meta.region_name == "us-east-1"
    assert S3Repository("p", {**GOOD, "region": "mars"})._client.meta.region_name == "mars"


# -- credentials_file -------------------------------------------------------------------------------------------------


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(
        "[default]\naws_access_key_id = AK1\naws_secret_access_key = S%K1\n"
        "[backup]\naws_access_key_id = AK2\naws_secret_access_key = SK2\naws_session_token = T2\n"
        "[half]\naws_access_key_id = AK3\n"
    )
    path.chmod(0o600)
    return path


def from_file(path: Path, **more: Any) -> dict[str, str | None]:
    return credentials("primary", with_defaults({"credentials_file": str(path), **more}))


def test_credentials_come_from_the_default_section_or_the_profiles(keys_file: Path) -> None:
    assert from_file(keys_file) == {"access_key": "AK1", "secret_key": "S%K1", "session_token": None}
    assert from_file(keys_file, profile="backup") == {"access_key": "AK2", "secret_key": "SK2", "session_token": "T2"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_credentials_file_that_others_can_read_is_refused(keys_file: Path, mode: int) -> None:
    keys_file.chmod(mode)
    with pytest.raises(InvalidOption, match="0600"):
        from_file(keys_file)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.privileged
def test_a_credentials_file_of_another_user_is_refused(keys_file: Path) -> None:
    os.chown(keys_file, 12345, 12345)
    with pytest.raises(InvalidOption, match="owner 12345"):
        from_file(keys_file)


def test_a_credentials_file_that_is_none_is_refused_without_repeating_it(keys_file: Path) -> None:
    with pytest.raises(InvalidOption, match="no section"):
        from_file(keys_file, profile="absent")
    with pytest.raises(InvalidOption, match="secret_key"):
        from_file(keys_file, profile="half")
    keys_file.write_text("hush-hush\n")
    with pytest.raises(InvalidOption, match="format") as caught:
        from_file(keys_file)
    assert "hush" not in str(caught.value)
    keys_file.write_bytes(b"[default]\naws_access_key_id = \xff\xfe\n")
    with pytest.raises(InvalidOption, match="cannot be read"):
        from_file(keys_file)
    keys_file.unlink()
    with pytest.raises(InvalidOption, match="cannot be read"):
        from_file(keys_file)


# -- the library ------------------------------------------------------------------------------------------------------


def test_without_boto3_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingDependency, match=r"boto3 >= 1\.36.*holdfast\.ops\.runtime"):
        S3Repository("primary", GOOD)


def test_a_boto3_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    monkeypatch.setattr(boto3, "__version__", "1.26.27")
    with pytest.raises(MissingDependency, match=r"this is 1\.26\.27"):
        S3Repository("primary", GOOD)
    monkeypatch.setattr(boto3, "__version__", "2.0.1")
    S3Repository("primary", GOOD).close()


def test_other_clients_of_the_process_sign_as_they_always_did() -> None:
    import boto3

    S3Repository("primary", GOOD).close()
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    other = boto3.client("s3", region_name="us-east-1", endpoint_url="http://127.0.0.1:1", **keys)
    seen: list[str] = []
    other.meta.events.register("before-sign.s3", lambda signature_version, **_more: seen.append(signature_version))
    other.meta.events.register("before-send.s3", lambda **_more: _answer())
    other.put_object(Bucket="b", Key="k", Body=b"x")
    assert seen == ["s3v4"]


def _answer() -> Any:
    from botocore.awsrequest import AWSResponse

    class Empty:
        def stream(self) -> Any:
            return iter([b""])

    return AWSResponse("http://127.0.0.1:1", 200, {}, Empty())


def test_a_request_is_signed_with_the_checksum_that_is_given_and_the_body_is_not_read_for_it() -> None:
    client = connect("primary", with_defaults(GOOD), "us-east-1", credentials("primary", with_defaults(GOOD)))
    sent: list[Any] = []

    def keep(request: Any, **_more: Any) -> Any:
        sent.append((dict(request.headers), request.body.tell()))
        return _answer()

    client.meta.events.register("before-send.s3", keep)
    claimed = hashlib.sha256(b"not the content").digest()
    client.put_object(Bucket="b", Key="k", Body=Body(b"content", claimed))
    ((headers, position),) = sent
    assert headers["X-Amz-Content-SHA256"] in (claimed.hex(), claimed.hex().encode())
    assert position == 0
    assert not {name for name in headers if name.lower().startswith(("x-amz-checksum", "content-md5"))}


# -- the body ---------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=3 * 1024), st.integers(0, 3 * 1024))
def test_a_body_reads_as_what_it_was_made_of_and_again_after_a_rewind(data: bytes, start: int) -> None:
    body = Body(memoryview(bytearray(data)), b"")
    assert len(body) == len(data)
    for position in (0, min(start, len(data)), 0):
        assert body.seek(position) == position
        assert b"".join(iter(body.read, b"")) == data[position:]
        assert body.tell() == len(data)
    assert body.seek(0, os.SEEK_END) == len(data)


def test_a_body_hands_out_views_of_bounded_size_and_no_copies() -> None:
    buffer = bytearray(SEND_CHUNK + 10)
    body = Body(buffer, b"")
    first, second = body.read(16), body.read(16)
    assert (len(first), len(second), len(body.read())) == (SEND_CHUNK, 10, 0)
    buffer[0] = 7
    assert first[0] == 7
