# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options and the constraints between them, as one thing that can be merged, checked, and given to a module.

PRIVATE to the collection; may change without notice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Spec:
    """Option specs by name, in Ansible's form, and what options demand of each other."""

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    mutually_exclusive: Sequence[Sequence[str]] = ()
    required_together: Sequence[Sequence[str]] = ()
    required_one_of: Sequence[Sequence[str]] = ()
    required_if: Sequence[Sequence[Any]] = ()
    required_by: Mapping[str, Collection[str]] = field(default_factory=dict)

    def __add__(self, other: Spec) -> Spec:
        """Both together.

        Raises:
            ValueError: both declare the same option.
        """
        both = set(self.options) & set(other.options)
        if both:
            raise ValueError(f"option declared twice: {', '.join(sorted(both))}")
        return Spec(
            {**self.options, **other.options},
            [*self.mutually_exclusive, *other.mutually_exclusive],
            [*self.required_together, *other.required_together],
            [*self.required_one_of, *other.required_one_of],
            [*self.required_if, *other.required_if],
            {**self.required_by, **other.required_by},
        )

    @classmethod
    def below(cls, option: Mapping[str, Any]) -> Spec:
        """The spec of a mapping's suboptions, which Ansible writes into the option itself."""
        names = ("options", "mutually_exclusive", "required_together", "required_one_of", "required_if", "required_by")
        return cls(**{name: option[name] for name in names if option.get(name)})

    def module(self) -> dict[str, Any]:
        """Keyword arguments of `AnsibleModule`."""
        return {
            "argument_spec": dict(self.options),
            "mutually_exclusive": list(self.mutually_exclusive),
            "required_together": list(self.required_together),
            "required_one_of": list(self.required_one_of),
            "required_if": list(self.required_if),
            "required_by": dict(self.required_by),
            "supports_check_mode": True,
        }
