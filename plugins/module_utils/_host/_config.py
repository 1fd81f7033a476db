# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what the roles have written to /etc/holdfast.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._errors import InvalidOption

_HINT = "It is written by the playbook holdfast.ops.site; run that for this host again."


def read_config(path: str) -> Mapping[str, Any] | None:
    """A file of JSON with a mapping in it; None where there is no such file.

    Raises:
        InvalidOption: it cannot be read, or is not what holdfast writes.
    """
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise InvalidOption(f"{path} may only be read by root.", hint="Use sudo.") from None
    except OSError as error:
        raise InvalidOption(f"{path} cannot be read: {error.strerror}.", hint=_HINT) from None
    except ValueError:
        raise InvalidOption(f"{path} is no JSON.", hint=_HINT) from None
    if not isinstance(config, Mapping):
        raise InvalidOption(f"{path} is not what holdfast writes.", hint=_HINT)
    return config
