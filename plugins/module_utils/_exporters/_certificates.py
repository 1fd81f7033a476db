# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that a host makes for its own exporters, and those that its operator brings.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile

from .._errors import InvalidOption
from .._process import find_program, run

DAYS = 825
"""How long a certificate is good for: the most that all clients accept."""
_RENEWED_BEFORE = 60 * 86400
"""Seconds; a host is set up more often than that, so a certificate is new before the old one ends."""


def is_good(certificate: str, key: str) -> bool:
    """Whether there is a pair that is good for a while."""
    if not (os.path.isfile(certificate) and os.path.isfile(key)):
        return False
    program = find_program("openssl", package="openssl")
    argv = [program, "x509", "-in", certificate, "-noout", "-checkend", str(_RENEWED_BEFORE)]
    return run(argv, check=False)[0] == 0


def make(address: str) -> tuple[str, str]:
    """A new pair, signed by itself, for the names and this address of the host.

    Returns:
        certificate and key, both PEM.

    Raises:
        MissingDependency: there is no openssl.
        ToolFailed: it could not.
    """
    names = dict.fromkeys(name for name in (socket.gethostname(), socket.getfqdn(), "localhost") if name)
    alternative = [f"DNS:{name}" for name in names]
    alternative += [f"IP:{each}" for each in dict.fromkeys((_address(address), "127.0.0.1")) if each]
    program = find_program("openssl", package="openssl")
    with tempfile.TemporaryDirectory(prefix="holdfast-exporter-") as directory:  # 0700
        certificate, key = os.path.join(directory, "crt"), os.path.join(directory, "key")
        argv = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        argv += ["-days", str(DAYS), "-subj", f"/CN={next(iter(names))[:64]}", "-keyout", key, "-out", certificate]
        argv += ["-addext", f"subjectAltName={','.join(alternative)}", "-addext", "extendedKeyUsage=serverAuth"]
        run(argv, stage="certificate", timeout=60)
        return read(certificate, "the new certificate"), read(key, "the new key")


def read(path: str, option: str) -> str:
    """A file of the operator's.

    Raises:
        InvalidOption: it cannot be read, or is not PEM.
    """
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read()
    except OSError as error:
        raise InvalidOption(f"{option} {path} cannot be read: {error.strerror}.", stage="preflight") from None
    except UnicodeDecodeError:
        raise InvalidOption(f"{option} {path} is not in the format PEM.", stage="preflight") from None


def _address(text: str) -> str | None:
    """An address that others can ask for; not that of all interfaces, nor a name."""
    try:
        found = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    return None if found.is_unspecified else str(found)
