# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a certificate ends, read from its DER encoding. Pure.

PRIVATE to the collection; may change without notice.

Python tells it only of certificates that it has validated; one that is self-signed ends as well.
"""

from __future__ import annotations

import calendar
import time

from .._errors import Corrupted

_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0


def not_after(certificate: bytes) -> float:
    """The end of the validity of a certificate, in epoch seconds.

    Raises:
        Corrupted: it is no certificate.
    """
    try:
        (_tag, outer), _rest = _element(certificate)
        (_tag, body), _rest = _element(outer)
        (tag, _value), rest = _element(body)
        if tag == _VERSION:
            _serial, rest = _element(rest)
        _algorithm, rest = _element(rest)
        _issuer, rest = _element(rest)
        (tag, validity), _rest = _element(rest)
        _not_before, rest = _element(validity)
        (kind, moment), _rest = _element(rest)
        if tag != _SEQUENCE or kind not in (_UTC_TIME, _GENERALIZED_TIME):
            raise ValueError("another structure")
        # RFC 5280: always seconds and Z; two digits of a year stand for 1950 to 2049.
        text = moment.decode("ascii")
        if kind == _UTC_TIME:
            text = ("19" if text[:2] >= "50" else "20") + text
        return float(calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ")))
    except (IndexError, ValueError) as error:
        raise Corrupted("The certificate cannot be read.", tool_output=str(error)) from None


def _element(data: bytes) -> tuple[tuple[int, bytes], bytes]:
    """The first element: tag and contents; and what follows it."""
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        count = length & 0x7F
        start += count
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("cut short")
    return (tag, data[start : start + length]), data[start + length :]
