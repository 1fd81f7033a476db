# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors: one clear text of message, the tool's words and what to do next, and no secret in it."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import ToolFailed, redact
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("it broke", "It failed. The tool said: it broke. Try again."),
        ("it broke.", "It failed. The tool said: it broke. Try again."),
        ("  why?\n", "It failed. The tool said: why? Try again."),
        ("", "It failed. Try again."),
    ],
)
def test_the_sentences_stay_apart(said: str, text: str) -> None:
    assert str(ToolFailed("It failed.", tool_output=said, hint="Try again.")) == text


@pytest.mark.parametrize(
    "text",
    [
        "could not connect to postgresql://admin:s3cr3t@db:5432/x",
        "password=s3cr3t host=db",
        "PGPASSWORD = 's3cr3t'",
        'Authorization: "s3cr3t"',
        "https://bucket/x?X-Amz-Signature=s3cr3t&y=1",
    ],
)
def test_what_is_spelled_like_a_secret_is_taken_out(text: str) -> None:
    assert "s3cr3t" not in redact(text)


@given(st.text(min_size=3, max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_a_known_secret_is_taken_out_wherever_it_stands(secret: str, before: str, after: str) -> None:
    if secret not in "********" and "********" not in secret:
        assert secret not in redact(before, [secret]) + redact(after, [secret]).replace("********", "")
