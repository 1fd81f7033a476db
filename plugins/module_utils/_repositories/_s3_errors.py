# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong in an S3 store, in the words of our own taxonomy: one function, one table.

PRIVATE to the collection; may change without notice.

Stores differ in their codes, so whatever the table does not name is judged by its HTTP status.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .._errors import (
    AlreadyExists,
    AuthenticationFailed,
    Corrupted,
    DiskFull,
    HoldfastError,
    InvalidOption,
    NotFound,
    PermissionDenied,
    TimedOut,
    TlsFailed,
    ToolFailed,
    Unavailable,
    Unsupported,
    redact,
)


@dataclass(frozen=True)
class Place:
    """What an error says about where it happened. `secrets` are taken out of the store's own words."""

    repository: str
    endpoint: str
    bucket: str
    region: str
    connect_timeout: float
    read_timeout: float
    secrets: tuple[str | None, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"The repository {self.repository} ({self.endpoint}, bucket {self.bucket})"


_WRONG_KEY = "Compare access_key (or the profile) with the store's users."
_WRONG_SECRET = "Compare secret_key and session_token with the store's."
_OLD_TOKEN = "Renew the temporary credentials."
_CLOCK = "Set this host's clock (NTP)."
_REGION = "Set region to the bucket's region."
_LATER = "Try again later, or look at the store's own log."
_ROOM = "Make room in the store, raise the quota, or prune."

_CODES: dict[str, tuple[type[HoldfastError], str, str | None]] = {
    "InvalidAccessKeyId": (AuthenticationFailed, "does not know the access key", _WRONG_KEY),
    "InvalidClientTokenId": (AuthenticationFailed, "does not know the access key", _WRONG_KEY),
    "SignatureDoesNotMatch": (AuthenticationFailed, "refuses the secret key", _WRONG_SECRET),
    "InvalidToken": (AuthenticationFailed, "refuses the session token", _WRONG_SECRET),
    "InvalidTokenId": (AuthenticationFailed, "refuses the session token", _WRONG_SECRET),
    "ExpiredToken": (AuthenticationFailed, "refuses the session token, which has expired", _OLD_TOKEN),
    "TokenRefreshRequired": (AuthenticationFailed, "refuses the session token, which has expired", _OLD_TOKEN),
    "RequestExpired": (AuthenticationFailed, "says that the request is too old", _CLOCK),
    "RequestTimeTooSkewed": (AuthenticationFailed, "says that this host's clock differs too much from its own", _CLOCK),
    "AuthorizationHeaderMalformed": (InvalidOption, "expects another region than {region}", _REGION),
    "IllegalLocationConstraintException": (InvalidOption, "expects another region than {region}", _REGION),
    "PermanentRedirect": (InvalidOption, "expects another region than {region}", _REGION),
    "TemporaryRedirect": (Unavailable, "redirects while the bucket is being moved", _LATER),
    "AccessDenied": (PermissionDenied, "does not allow us to {right} {what}", None),
    "AllAccessDisabled": (PermissionDenied, "does not allow us to {right} {what}", None),
    "AccountProblem": (PermissionDenied, "has a problem with the account", None),
    "UserSuspended": (PermissionDenied, "has suspended the account", None),
    "NoSuchBucket": (NotFound, "has no bucket of this name", "Create the bucket, or correct the option bucket."),
    "NoSuchKey": (NotFound, "has no {what}", None),
    "NoSuchVersion": (NotFound, "has no {what}", None),
    "NoSuchUpload": (NotFound, "has given up the upload of {what}: somebody aborted or swept it", None),
    "PreconditionFailed": (AlreadyExists, "has {what} already", None),
    "ConditionalRequestConflict": (AlreadyExists, "is just storing another {what}", None),
    "BadDigest": (Corrupted, "received other bytes of {what} than were sent", None),
    "InvalidDigest": (Corrupted, "received other bytes of {what} than were sent", None),
    "XAmzContentSHA256Mismatch": (Corrupted, "received other bytes of {what} than were sent", None),
    "XAmzContentChecksumMismatch": (Corrupted, "received other bytes of {what} than were sent", None),
    "XMinioStorageFull": (DiskFull, "is full", _ROOM),
    "InsufficientStorage": (DiskFull, "is full", _ROOM),
    "QuotaExceeded": (DiskFull, "has reached its quota", _ROOM),
    "XMinioAdminBucketQuotaExceeded": (DiskFull, "has reached its quota", _ROOM),
    "RequestTimeout": (TimedOut, "received no more bytes of {what} and gave up waiting", _LATER),
    "IncompleteBody": (Unavailable, "received only a part of {what}", _LATER),
    "SlowDown": (Unavailable, "asks for fewer requests", "Lower parallel, or spread the backups over time."),
    "InvalidObjectState": (Unsupported, "keeps {what} in an archive", "Restore it from there first."),
    "InvalidStorageClass": (InvalidOption, "does not know the storage_class", None),
    "EntityTooLarge": (Unsupported, "takes no object as large as {what}", "Lower max_parts or part_size."),
    "EntityTooSmall": (Unsupported, "wants larger parts", "Raise part_size."),
    "NotImplemented": (Unsupported, "cannot do what was asked", None),
    "MethodNotAllowed": (Unsupported, "cannot do what was asked", None),
    "KMSNotConfigured": (Unsupported, "has no key for the option sse", "Compare sse_kms_key_id with the store's keys."),
    "InvalidBucketObjectLockConfiguration": (
        Unsupported,
        "has no Object Lock on this bucket",
        "Object Lock is switched on when a bucket is made; leave object_lock_days away, or use such a bucket.",
    ),
}

_STATUS: dict[int, str] = {
    301: "PermanentRedirect",
    307: "TemporaryRedirect",
    401: "SignatureDoesNotMatch",
    403: "AccessDenied",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    429: "SlowDown",
    501: "NotImplemented",
    507: "InsufficientStorage",
}

_FULL = re.compile(
    r"no space left|disk (?:is )?full|storage (?:is full|cap exceeded)|(?:storage|bucket) quota"
    r"|quota exceeded|no (?:free|writable) volumes",
    re.IGNORECASE,
)
_LOCK = re.compile(r"object ?lock", re.IGNORECASE)
_PLAIN_TO_TLS = re.compile(r"http request (?:was sent )?to an? https (?:server|port)", re.IGNORECASE)


_TIMEOUTS = (TimeoutError, socket.timeout)


def code_of(error: BaseException) -> str:
    """The store's code for a refusal (`NoSuchKey`), empty when it said none or the request never came through."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def status_of(error: BaseException) -> int:
    """The HTTP status of a refusal, 0 when there was no answer."""
    response = getattr(error, "response", None)
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) if isinstance(response, dict) else 0


def was_retried(error: BaseException) -> bool:
    """True when the client sent the request more than once, so that an earlier try may have succeeded unheard."""
    response = getattr(error, "response", None)
    return bool(response.get("ResponseMetadata", {}).get("RetryAttempts", 0)) if isinstance(response, dict) else False


def library_errors() -> tuple[type[Exception], ...]:
    """What botocore raises for everything that can go wrong between us and the store."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return (BotoCoreError, ClientError, ResponseParserError)


def passed_through(error: BaseException | None) -> HoldfastError | None:
    """An error of ours that the library has wrapped in its own: a signal's, raised in the middle of a request."""
    causes = _causes(error) if error is not None else ()
    return next((cause for cause in causes if isinstance(cause, HoldfastError)), None)


def translate(error: BaseException, place: Place, right: str = "", what: str = "it") -> HoldfastError:
    """Turn an error of the library into ours.

    Args:
        error: one of `library_errors()`.
        right: the right that was being used: `write`, `read`, `list` or `delete`.
        what: the object, for the sentence.
    """
    ours = passed_through(error)
    if ours is not None:
        return ours
    said = redact(_own_words(error), place.secrets)
    if isinstance(getattr(error, "response", None), dict):
        return _refusal(error, place, right, what, said)
    return _failure(error, place, said)


def _own_words(error: BaseException) -> str:
    """Code and message only: the rest of a refusal can hold parts of the signed request."""
    response: Any = getattr(error, "response", None)
    if not isinstance(response, dict):
        return str(error)
    detail = response.get("Error", {})
    return f"{detail.get('Code', '')}: {detail.get('Message', '')} (HTTP {status_of(error)})"


def _refusal(error: BaseException, place: Place, right: str, what: str, said: str) -> HoldfastError:
    """The store answered, and said no."""
    code, status = code_of(error), status_of(error)
    if _PLAIN_TO_TLS.search(said):
        return TlsFailed(f"{place} speaks TLS.", tool_output=said, hint="Write https:// in endpoint_url.")
    if code == "404" and getattr(error, "operation_name", "") != "HeadObject":
        # A store names what it does not have; a bare 404 comes from something else that speaks HTTP.
        return _no_store(place, said)
    if _FULL.search(said):
        code = "InsufficientStorage"
    elif code == "InvalidRequest" and _LOCK.search(said):
        code = "InvalidBucketObjectLockConfiguration"
    elif code.lower().startswith(("kms", "invalidencryption")):
        code = "KMSNotConfigured"
    elif code == "AuthorizationHeaderMalformed" and "region" not in said.lower():
        code = "SignatureDoesNotMatch"
    if code not in _CODES:
        code = "NoSuchKey" if code == "404" else _STATUS.get(status, code)
    if code not in _CODES:
        if status >= 500 or status == 0:
            # No code of S3's: a proxy before the store, or no store at all.
            advice = "If it never worked, compare endpoint_url with the store's." if code.isdigit() else _LATER
            return Unavailable(f"{place} failed.", tool_output=said, hint=advice)
        return ToolFailed(f"{place} refused the request for {what}.", tool_output=said)
    kind, sentence, hint = _CODES[code]
    text = f"{place} {sentence.format(right=right or 'use', what=what, region=place.region)}."
    if kind is PermissionDenied:
        hint = (
            hint
            or f"Give these credentials the right to {right or 'do this'}; the policies are in docs/repositories.md."
        )
        return PermissionDenied(text, right=right or None, tool_output=said, hint=hint)
    return kind(text, tool_output=said, hint=hint)


def _failure(error: BaseException, place: Place, said: str) -> HoldfastError:
    """There was no answer, or none that can be understood."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    causes = list(_causes(error))
    if isinstance(error, boto.SSLError) or any(isinstance(cause, ssl.SSLError) for cause in causes):
        return TlsFailed(
            f"{place}: the TLS connection was refused.",
            tool_output=said,
            hint="ca_file names the authority behind the store's certificate, which must be for this very host name.",
        )
    if isinstance(error, boto.ConnectTimeoutError):
        return TimedOut(f"{place} did not take the connection within {place.connect_timeout:g} s (connect_timeout).")
    if isinstance(error, boto.ReadTimeoutError):
        return TimedOut(f"{place} did not answer within {place.read_timeout:g} s (read_timeout).")
    if any(isinstance(cause, _TIMEOUTS) for cause in causes):
        return TimedOut(f"{place} took no more bytes for {place.connect_timeout:g} s (connect_timeout).")
    if isinstance(error, ResponseParserError):
        return _no_store(place, said)
    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError)):
        return AuthenticationFailed(
            f"{place}: there are no (complete) credentials.",
            tool_output=said,
            hint="Set access_key and secret_key, credentials_file or profile.",
        )
    if isinstance(error, (boto.ProfileNotFound, boto.ParamValidationError, boto.InvalidConfigError)):
        return InvalidOption(f"{place}: the declaration cannot be right.", tool_output=said)
    if isinstance(
        error, (boto.CredentialRetrievalError, boto.MetadataRetrievalError, boto.TokenRetrievalError, boto.SSOError)
    ):
        return AuthenticationFailed(f"{place}: the credentials could not be fetched.", tool_output=said)
    if isinstance(error, (boto.ConnectionClosedError, boto.ResponseStreamingError, boto.IncompleteReadError)):
        plain = place.endpoint.startswith("http:")
        hint = "If the store speaks TLS, write https:// in endpoint_url." if plain else _LATER
        return Unavailable(f"{place}: the connection broke off.", tool_output=said, hint=hint)
    return Unavailable(
        f"{place} cannot be reached.", tool_output=said, hint="Look at endpoint_url, name service and network."
    )


def _no_store(place: Place, said: str) -> HoldfastError:
    return Unavailable(
        f"{place} does not answer as an S3 store does.",
        tool_output=said[:400],
        hint="Compare endpoint_url with the store's.",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from: by chaining, and by the `error` that botocore and urllib3 keep."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        kept = getattr(one, "kwargs", None)
        more = [one.__cause__, one.__context__, kept.get("error") if isinstance(kept, dict) else None, *one.args]
        waiting.extend(other for other in more if isinstance(other, BaseException))
