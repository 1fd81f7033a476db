# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in which stores say no becomes the error of ours that tells a user what to do."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import (
    AlreadyExists,
    AuthenticationFailed,
    Corrupted,
    DiskFull,
    HoldfastError,
    Interrupted,
    InvalidOption,
    NotFound,
    PermissionDenied,
    TimedOut,
    TlsFailed,
    ToolFailed,
    Unavailable,
    Unsupported,
)
from ansible_collections.holdfast.ops.plugins.module_utils._repositories._s3_errors import (
    Place,
    code_of,
    library_errors,
    status_of,
    translate,
    was_retried,
)
from botocore import exceptions as boto
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from hypothesis import given
from hypothesis import strategies as st

SECRET = "s3cr3t/with+signs="
PLACE = Place("primary", "https://s3.example.com", "backups", "eu-central-1", 7, 21, (SECRET, None))


def refusal(code: str, status: int, message: str = "", operation: str = "PutObject", **more: Any) -> ClientError:
    response: dict[str, Any] = {
        "Error": {"Code": code, "Message": message, **more},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": 0},
    }
    return ClientError(response, operation)


@pytest.mark.parametrize(
    ("code", "status", "message", "kind"),
    [
        ("InvalidAccessKeyId", 403, "", AuthenticationFailed),
        ("SignatureDoesNotMatch", 403, "", AuthenticationFailed),
        ("ExpiredToken", 400, "", AuthenticationFailed),
        ("InvalidToken", 400, "", AuthenticationFailed),
        ("RequestTimeTooSkewed", 403, "", AuthenticationFailed),
        ("AuthorizationHeaderMalformed", 400, "the credential is malformed", AuthenticationFailed),
        ("AuthorizationHeaderMalformed", 400, "the region 'x' is wrong; expecting 'y'", InvalidOption),
        ("PermanentRedirect", 301, "", InvalidOption),
        ("301", 301, "Moved Permanently", InvalidOption),
        ("AccessDenied", 403, "", PermissionDenied),
        ("SomethingOfItsOwn", 403, "", PermissionDenied),
        ("NoSuchBucket", 404, "", NotFound),
        ("NoSuchKey", 404, "", NotFound),
        ("NoSuchUpload", 404, "", NotFound),
        ("404", 404, "Not Found", Unavailable),
        ("PreconditionFailed", 412, "", AlreadyExists),
        ("412", 412, "", AlreadyExists),
        ("ConditionalRequestConflict", 409, "", AlreadyExists),
        ("BadDigest", 400, "", Corrupted),
        ("XAmzContentSHA256Mismatch", 400, "", Corrupted),
        ("XAmzContentChecksumMismatch", 400, "", Corrupted),
        ("XMinioStorageFull", 507, "", DiskFull),
        ("InsufficientStorage", 507, "", DiskFull),
        ("QuotaExceeded", 403, "", DiskFull),
        ("XMinioAdminBucketQuotaExceeded", 400, "", DiskFull),
        ("SomethingOfItsOwn", 507, "", DiskFull),
        ("InternalError", 500, "write: no space left on device", DiskFull),
        ("AccessDenied", 403, "Cannot upload: storage cap exceeded.", DiskFull),
        ("RequestTimeout", 400, "", TimedOut),
        ("SlowDown", 503, "", Unavailable),
        ("InternalError", 500, "", Unavailable),
        ("502", 502, "Bad Gateway", Unavailable),
        ("NotImplemented", 501, "", Unsupported),
        ("XSomething", 501, "", Unsupported),
        ("InvalidStorageClass", 400, "", InvalidOption),
        ("KMS.NotFoundException", 400, "", Unsupported),
        ("kms:KeyNotFound", 400, "", Unsupported),
        ("InvalidRequest", 400, "Bucket is missing Object Lock Configuration", Unsupported),
        ("InvalidRequest", 400, "something else", ToolFailed),
        ("InvalidObjectState", 403, "", Unsupported),
        ("400", 400, "Client sent an HTTP request to an HTTPS server.", TlsFailed),
    ],
)
def test_a_refusal(code: str, status: int, message: str, kind: type[HoldfastError]) -> None:
    error = translate(refusal(code, status, message), PLACE, "write", "data/x")
    assert error.__class__ is kind
    assert "primary" in error.message
    assert "{" not in error.message
    assert error.message.endswith(".")


@pytest.mark.parametrize("right", ["write", "read", "list", "delete"])
def test_a_missing_right_is_named(right: str) -> None:
    error = translate(refusal("AccessDenied", 403), PLACE, right, "data/x")
    assert isinstance(error, PermissionDenied)
    assert error.right == right
    assert f"to {right} data/x" in error.message
    assert error.result()["right"] == right


def test_the_bucket_and_an_object_are_told_apart() -> None:
    bucket = translate(refusal("NoSuchBucket", 404), PLACE, "list", "it")
    thing = translate(refusal("NoSuchKey", 404), PLACE, "read", "data/x")
    assert "no bucket" in bucket.message
    assert "has no data/x" in thing.message


def test_a_missing_object_of_a_request_without_a_body() -> None:
    assert isinstance(translate(refusal("404", 404, operation="HeadObject"), PLACE, "read", "x"), NotFound)
    assert isinstance(translate(refusal("403", 403, operation="HeadObject"), PLACE, "read", "x"), PermissionDenied)


ENDPOINT = {"endpoint_url": "https://s3.example.com"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (boto.EndpointConnectionError(**ENDPOINT, error=socket.gaierror(-2, "Name or service not known")), Unavailable),
        (boto.ConnectTimeoutError(**ENDPOINT), TimedOut),
        (boto.ReadTimeoutError(**ENDPOINT), TimedOut),
        (boto.ConnectionClosedError(**ENDPOINT, error=ConnectionResetError(104, "reset")), Unavailable),
        (boto.ConnectionClosedError(**ENDPOINT, error=TimeoutError("timed out")), TimedOut),
        (boto.ConnectionClosedError(**ENDPOINT, error=socket.timeout("timed out")), TimedOut),
        (boto.SSLError(**ENDPOINT, error="certificate verify failed"), TlsFailed),
        (boto.ConnectionClosedError(**ENDPOINT, error=ssl.SSLEOFError("EOF")), TlsFailed),
        (boto.ProxyConnectionError(proxy_url="http://proxy"), Unavailable),
        (boto.HTTPClientError(error=ValueError("odd")), Unavailable),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), Unavailable),
        (ResponseParserError("Unable to parse response, invalid XML received: <html>"), Unavailable),
        (boto.NoCredentialsError(), AuthenticationFailed),
        (boto.PartialCredentialsError(provider="env", cred_var="secret"), AuthenticationFailed),
        (boto.CredentialRetrievalError(provider="process", error_msg="exit 1"), AuthenticationFailed),
        (boto.ProfileNotFound(profile="x"), InvalidOption),
        (boto.ParamValidationError(report="Invalid bucket name"), InvalidOption),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_no_answer(error: BaseException, kind: type[HoldfastError]) -> None:
    assert isinstance(error, library_errors())
    found = translate(error, PLACE, "write", "data/x")
    assert found.__class__ is kind
    assert "primary" in found.message


def test_a_connection_that_breaks_off_without_tls_may_be_one_that_wants_it() -> None:
    broken = boto.ConnectionClosedError(**ENDPOINT, error=ConnectionResetError(104, "reset"))
    plain = Place("primary", "http://s3.example.com", "backups", "", 7, 21)
    assert "https://" in str(translate(broken, plain).hint)
    assert "https://" not in str(translate(broken, PLACE).hint)
    assert "broke off" in translate(broken, PLACE).message


@pytest.mark.parametrize(
    ("error", "option", "seconds"),
    [
        (boto.ConnectTimeoutError(**ENDPOINT), "connect_timeout", "7 s"),
        (boto.ReadTimeoutError(**ENDPOINT), "read_timeout", "21 s"),
    ],
)
def test_a_timeout_names_the_option_that_bounds_it(error: BaseException, option: str, seconds: str) -> None:
    message = translate(error, PLACE).message
    assert option in message
    assert seconds in message


def test_an_error_of_ours_that_passed_through_the_library_comes_out_as_it_was() -> None:
    ours = Interrupted("SIGTERM")
    try:
        try:
            raise ours
        except Interrupted as caught:
            raise boto.HTTPClientError(error=caught) from None
    except boto.HTTPClientError as wrapped:
        assert translate(wrapped, PLACE) is ours


@given(st.sampled_from(["AccessDenied", "InternalError", "Odd", "NoSuchKey"]), st.text(max_size=9), st.text(max_size=9))
def test_a_secret_in_the_words_of_a_store_is_taken_out(code: str, before: str, after: str) -> None:
    error = translate(refusal(code, 403, f"{before}{SECRET}{after}"), PLACE, "write", "x")
    assert SECRET not in str(error)
    assert SECRET not in str(error.result())
    assert SECRET not in repr(PLACE)


def test_only_code_and_message_of_a_refusal_are_repeated() -> None:
    error = translate(
        refusal("SignatureDoesNotMatch", 403, "no match", StringToSign="AWS4-HMAC-SHA256 …", AWSAccessKeyId="AK"), PLACE
    )
    assert "HMAC" not in str(error)
    assert "AK" not in str(error)


def test_what_an_error_says_of_itself() -> None:
    retried = refusal("SlowDown", 503)
    retried.response["ResponseMetadata"]["RetryAttempts"] = 2
    assert (code_of(retried), status_of(retried), was_retried(retried)) == ("SlowDown", 503, True)
    silent = boto.ReadTimeoutError(**ENDPOINT)
    assert (code_of(silent), status_of(silent), was_retried(silent)) == ("", 0, False)
