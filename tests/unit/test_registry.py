# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be written down in a second place is written down there.

Ansible ships to a host only what is imported statically, and applies group defaults only to members: a new engine,
store or module that is missing in one of these lists would fail far away from here, and silently.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[2]
PLUGINS = TOP / "plugins"
MODULES = sorted(path for path in (PLUGINS / "modules").glob("*.py") if path.name != "__init__.py")
FRAGMENTS = sorted(path.stem for path in (PLUGINS / "doc_fragments").glob("*.py") if path.name != "__init__.py")
PREFIX = "holdfast.ops."


def groups() -> dict[str, set[str]]:
    runtime = yaml.safe_load((TOP / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    return {name: set(members) for name, members in runtime["action_groups"].items()}


def string_constant(path: Path, name: str) -> str:
    """The value of a module-level `NAME = '…'`, read without importing the file."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{path} has no {name}")


def documentation(module: Path) -> dict:
    return yaml.safe_load(string_constant(module, "DOCUMENTATION"))


def families(module: Path) -> set[str]:
    """The fragments of ours that a module extends and that bring options; `attributes` brings none."""
    extended = documentation(module).get("extends_documentation_fragment", [])
    extended = [extended] if isinstance(extended, str) else extended
    # `fragment.part` names a second block of the same fragment.
    ours = {name[len(PREFIX) :].split(".")[0] for name in extended if name.startswith(PREFIX)}
    return {name for name in ours if brings_options(name)}


def brings_options(fragment: str) -> bool:
    tree = ast.parse((PLUGINS / "doc_fragments" / f"{fragment}.py").read_text(encoding="utf-8"))
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    parsed = (yaml.safe_load(block.value) for block in blocks if "options:" in block.value)
    return any(isinstance(block, dict) and block.get("options") for block in parsed)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_belongs_to_the_group_of_every_fragment_that_it_extends(module: Path) -> None:
    listed = {name for name, members in groups().items() if module.stem in members}
    # `all` is for what takes options of a family; the documentation of an action plugin of ours takes none.
    assert listed == (families(module) | {"all"} if families(module) else set())


def test_a_group_has_no_member_that_is_not_there() -> None:
    assert set().union(*groups().values()) <= {module.stem for module in MODULES}


def test_every_fragment_with_options_has_a_group() -> None:
    assert {name for name in FRAGMENTS if brings_options(name)} == set(groups()) - {"all"}


def imported(path: Path) -> set[Path]:
    """The files of the collection's own that a file imports relatively, anywhere in it."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for place in (base, *(base / alias.name for alias in node.names)):
                found |= {file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()}
    return found


@pytest.mark.parametrize("package", ["_engines", "_repositories", "_notify/_channels"])
def test_the_registry_of_a_package_imports_every_file_of_it(package: str) -> None:
    directory = PLUGINS / "module_utils" / package
    reached, waiting = {directory / "__init__.py"}, [directory / "_registry.py"]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += imported(path)
    forgotten = {path for path in directory.rglob("*.py") if path.name != "__init__.py"} - reached
    assert not forgotten, "unknown on a remote host: import it in _registry.py"


def test_nothing_that_a_module_reaches_imports_by_name() -> None:
    """AnsiballZ cannot see what importlib will be asked for: it would be missing on the host."""
    for path in sorted([*(PLUGINS / "module_utils").rglob("*.py"), *MODULES]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            dynamic = {name for name in names if name.split(".")[0] in {"importlib", "pkgutil"}}
            # Looking up an installed distribution's version loads nothing.
            assert dynamic <= {"importlib.metadata"}, f"{path}:{node.lineno}"


def test_module_utils_do_not_know_ansible() -> None:
    """The engine room is tested, and used by commands, without Ansible; _arguments.py is the one exception."""
    for path in sorted((PLUGINS / "module_utils").rglob("*.py")):
        if path.name == "_arguments.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not {name for name in names if name.split(".")[0] in {"ansible", "ansible_collections"}}, path


def test_a_private_file_says_so() -> None:
    for path in sorted((PLUGINS / "module_utils").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name == "__init__.py":
            assert not path.read_bytes(), f"{path}: ansible-test of ansible-core 2.17 wants it empty"
            continue
        assert "PRIVATE" in (ast.get_docstring(tree) or ""), f"{path}: its docstring does not say PRIVATE"
        assert path.name.startswith("_"), f"{path}: a private file's name begins with an underscore"
