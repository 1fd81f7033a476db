# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of maintenance: what a run says stands in each format, and no text becomes anything but text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.holdfast.ops.plugins.module_utils._errors import DiskFull
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report._figures import Entry, History, of_run
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report._html import to_html
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report._markdown import (
    cell_code,
    code,
    escaped,
    to_markdown,
)
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report._sentences import advice_pieces, pieces
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report._tidy import tidy, tidy_text
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._report._write import to_json
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._run_model import Failure, Run, TaskResult
from ansible_collections.holdfast.ops.plugins.module_utils._maintenance._section import (
    CODE,
    COUNT,
    Column,
    Finding,
    Measure,
    Section,
    Table,
)
from ansible_collections.holdfast.ops.tests.support.maintenance import STARTED, sample_run, with_texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/maintenance/report.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])

NASTY = [
    "</style><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "<!--",
    "]]>",
    "&lt;b&gt; &amp;",
    "| a | b |",
    "\\|",
    "\\",
    "`",
    "``x``` |",
    "*x* _y_ __z__ ~~q~~",
    "[link](http://evil.example) ![i](http://evil.example/i.png)",
    "<http://evil.example>",
    "\n\n# heading\n\n- item\n\n---\n",
    "\n```\ncode\n```\n",
    "1. one",
    "+ plus",
    "=== ",
    "-----",
    "> quote",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "\ud800",
    "\x00",
    "\u2028",
    "\r",
    "    four",
]
# Halves of characters are part of it: names of files that are no UTF-8 come as such.
HOSTILE = st.lists(st.sampled_from(NASTY) | st.text(st.characters(), max_size=8), min_size=1, max_size=4).map("".join)
NO_PAST = History()


def past_of(run: Run, runs: int = 3) -> History:
    """A history in which every figure has a way, ending with this run."""
    mine = of_run(run)
    return History([Entry(run.started - timedelta(days=day), run.part, mine.figures) for day in range(runs, -1, -1)])


def small(text: str) -> Run:
    """The least run that has a text in every place, with a plot and a bar."""
    section = Section(
        text,
        text,
        findings=[Finding(text, "critical", text, text, text)],
        tables=[
            Table(
                text,
                text,
                [Column("name", text, CODE), Column("words", text), Column("size", text, COUNT)],
                [{"name": text, "words": text, "size": 3}],
                note=text,
                plot="size",
            )
        ],
        measures=[Measure(text, text, 2.0)],
    )
    tasks = (TaskResult(text, text, 0.1, section), TaskResult(text, text, 0.2, failure=Failure(text, text, text)))
    return tidy(Run(text, "", STARTED, 1.0, tasks))


# The model.


def test_a_run_comes_back_from_its_json() -> None:
    run = sample_run()
    back = Run.from_dict(json.loads(json.dumps(run.as_dict())))
    assert back.as_dict() == run.as_dict()
    assert back.started == run.started
    assert (run.severity, [each.name for each in run.failed]) == ("critical", ["packages"])


@given(HOSTILE)
def test_a_run_of_any_texts_comes_back_from_its_json(text: str) -> None:
    run = with_texts(sample_run(), text)
    assert Run.from_dict(json.loads(json.dumps(run.as_dict()))).as_dict() == run.as_dict()


def test_findings_come_worst_first_and_otherwise_as_the_tasks_do() -> None:
    found = [(task.name, finding.code) for task, finding in sample_run().findings]
    assert found == [
        ("database", "blocked_query"),
        ("host", "disk_full"),
        ("database", "bloated_table"),
        ("database", "unused_index"),
        ("cache", "big_key"),
        ("logs", "error_burst"),
        ("database", "no_checksums"),
        ("old_projects", "would_purge"),
    ]


@pytest.mark.parametrize("values", [{}, {"section": Section("t", "s"), "failure": Failure("c", "t")}])
def test_a_result_has_a_section_or_a_failure(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a section or a failure"):
        TaskResult("name", "kind", 1.0, **values)


def test_another_format_is_not_read() -> None:
    with pytest.raises(ValueError, match="format 2"):
        Run.from_dict({**sample_run().as_dict(), "format": 2})


def test_a_failure_says_what_the_error_says() -> None:
    error = DiskFull("No room is left.", tool_output="ENOSPC", hint="Make some.")
    assert Failure.of(error) == Failure("disk_full", "No room is left. The tool said: ENOSPC", "Make some.")


# Plain values.


def test_values_become_plain_and_figures_that_are_none_go() -> None:
    moment = datetime(2026, 11, 22, 6, 30, tzinfo=timezone.utc)
    rows = [{"a": Decimal("1.5"), "b": float("nan"), "c": moment}]
    table = Table("t", "t", [Column(key, key) for key in "abc"], rows)
    section = Section("t", "s", tables=[table], measures=[Measure("bad", "b", float("inf")), Measure("good", "g", 1.0)])
    clean = tidy(Run("h", "", moment, 1.0, [TaskResult("n", "k", 1.0, section)])).tasks[0].section
    assert clean is not None
    assert clean.tables[0].rows == [{"a": 1.5, "b": None, "c": "2026-11-22T06:30:00.000Z"}]
    assert [each.name for each in clean.measures] == ["good"]


def test_a_value_that_no_report_can_show_is_refused() -> None:
    table = Table("t", "t", [Column("a", "a")], [{"a": {1, 2}}])
    with pytest.raises(TypeError, match="set"):
        tidy(Run("h", "", STARTED, 1.0, [TaskResult("n", "k", 1.0, Section("t", "s", tables=[table]))]))


@given(HOSTILE)
def test_no_text_commands_a_terminal_or_turns_what_is_read(text: str) -> None:
    clean = tidy_text(text)
    clean.encode()  # no half of a character
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028]", clean)
    assert tidy_text(clean) == clean


# JSON.


def test_json_is_as_documented() -> None:
    run = tidy(sample_run())
    written = to_json(run, History(notes=["1 line was left out."]))
    VALIDATOR.validate(json.loads(written))
    assert Run.from_dict(json.loads(written)).as_dict() == run.as_dict()


@given(HOSTILE)
@settings(max_examples=30)
def test_json_of_any_texts_is_as_documented(text: str) -> None:
    VALIDATOR.validate(json.loads(to_json(small(text), NO_PAST)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 2),
        (("part",), "hourly"),
        (("started",), "2026-11-22 06:30"),
        (("tasks", 0, "failure"), {"code": "c", "text": "t", "advice": ""}),
        (("tasks", 0, "section", "findings", 0, "severity"), "bad"),
        (("tasks", 0, "section", "more"), 1),
    ],
)
def test_what_is_not_as_documented_is_told(path: tuple[Any, ...], value: Any) -> None:
    report = json.loads(to_json(tidy(sample_run()), NO_PAST))
    inner = report
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert not VALIDATOR.is_valid(report)


# Sentences.


@pytest.mark.parametrize(
    ("advice", "commands"),
    [
        ("redis-cli UNLINK queue:dead", ["redis-cli UNLINK queue:dead"]),
        ("Look at it.", []),
        ("End it: `SELECT pg_cancel_backend(1);`.", ["SELECT pg_cancel_backend(1);"]),
        ("Set `maxmemory` higher.", []),
        ("Run `df -h` and look.", []),
        ("First:\n`one a\ntwo b`\nthen rest.", ["one a\ntwo b"]),
        ("", []),
        ("a lone ` is text.", []),
    ],
)
def test_commands_of_advice(advice: str, commands: list[str]) -> None:
    assert [part.text for part in advice_pieces(advice) if part.command] == commands


@given(st.text())
def test_nothing_of_a_sentence_is_lost(text: str) -> None:
    assert "".join(f"`{part.text}`" if part.code else part.text for part in pieces(text)) == text


# Markdown.


def tokens(text: str) -> list[Token]:
    """Every token, those of lines included."""
    found = []
    for token in MARKDOWN.parse(text):
        found += [token, *(token.children or [])]
    return found


def shape(text: str) -> dict[str, int]:
    """How many of each block there are that no text may add to."""
    kinds = [token.type for token in tokens(text)]
    return {kind: kinds.count(kind) for kind in ("heading_open", "table_open", "tr_open", "td_open", "th_open", "hr")}


def test_markdown_has_everything() -> None:
    text = to_markdown(tidy(sample_run()), past_of(sample_run()))
    assert text.startswith("# Daily maintenance of omnidoc-1.example.org\n")
    assert "**1 failed task, 2 critical findings, 4 warnings and 2 notes**" in text
    assert text.index("**failed**") < text.index("**critical**") < text.index("**warning**") < text.index("**info**")
    assert "SELECT count(*) FROM messages WHERE conversation_id = $1 AND role \\|\\| $2 = $3" in text
    assert "| `public.document_chunks` |           6.1 GiB |" in text
    assert "██████████" in text
    assert shape(text)["table_open"] == 3 + 5  # of figures, and with rows
    assert "None." in text


@pytest.mark.parametrize("text", NASTY)
def test_no_known_trick_breaks_out_of_markdown(text: str) -> None:
    assert_tame(text)


@given(HOSTILE)
@settings(max_examples=60, deadline=None)
def test_no_text_breaks_out_of_markdown(text: str) -> None:
    assert_tame(text)


def assert_tame(text: str) -> None:
    """A report with such a text everywhere has the blocks that any has, and no markup but its own."""
    run = small(text)
    markdown = to_markdown(run, past_of(run))
    assert shape(markdown) == shape(to_markdown(small("word"), past_of(small("word"))))
    kinds = {token.type for token in tokens(markdown)}
    assert not kinds & {"html_block", "html_inline", "image", "link_open", "em_open", "s_open", "blockquote_open"}
    assert not kinds & {"ordered_list_open", "code_block"}


@given(HOSTILE)
@settings(max_examples=120)
def test_a_text_in_markdown_is_read_as_it_is(text: str) -> None:
    text = tidy_text(text)
    folded = " ".join(text.split())
    table = f"| {escaped(text)} | {cell_code(text)} |\n| --- | --- |\n"
    cells = [token for token in MARKDOWN.parse(table) if token.type == "inline"]
    assert len(cells) == 2
    for cell in cells:
        assert "".join(each.content for each in cell.children or []) == folded
    inline = MARKDOWN.parse(f"x {code(text)} x")[1].children or []
    assert [each.content for each in inline if each.type == "code_inline"] == ([folded] if folded else [])


# HTML.


class Tree(HTMLParser):
    """The elements of a page with their attributes, and its text by element."""

    VOID = ("meta", "link", "wbr")

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def test_the_page_has_everything() -> None:
    page = to_html(tidy(sample_run()), past_of(sample_run()))
    tree = Tree(page)
    assert tree.open == []
    assert len([each for each in tree.of("section") if each.get("class") == "task"]) == 6
    found = [str(each["class"]).split()[1] for each in tree.of("li") if str(each.get("class")).startswith("finding")]
    assert found == ["critical"] * 3 + ["warning"] * 4 + ["info"] * 2
    assert len([each for each in tree.of("svg") if each.get("class") == "bar"]) == 8 + 4 + 3 + 3 + 24
    assert len([each for each in tree.of("figure") if each.get("class") == "histogram"]) == 1
    assert len([each for each in tree.of("svg") if each.get("class") == "line"]) == 6
    ids = [attributes["id"] for _tag, attributes in tree.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    pointed = [str(each["href"])[1:] for name in ("a", "use") for each in tree.of(name)]
    assert set(pointed) <= set(ids)
    labels = " ".join(str(value["aria-labelledby"]) for _tag, value in tree.elements if "aria-labelledby" in value)
    assert set(labels.split()) <= set(ids)


def test_the_policy_lets_nothing_in_but_the_style_of_the_page() -> None:
    page = to_html(tidy(sample_run()), NO_PAST)
    style = re.search("<style>(.*)</style>", page, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = next(each["content"] for each in Tree(page).of("meta") if "http-equiv" in each)
    wanted = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    assert policy == wanted
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert "url(" not in style[1] and "@import" not in style[1]


def test_a_run_in_which_all_is_well_says_so() -> None:
    run = Run("host", "daily", STARTED, 1.0, [TaskResult("a", "b", 1.0, Section("Title", "Fine."))])
    assert "Nothing needs anybody&#39;s attention" in to_html(run, NO_PAST).replace("'", "&#39;")
    assert "**Nothing to report**" in to_markdown(run, NO_PAST)


def outline(tree: Tree) -> list[tuple[str, tuple[str, ...]]]:
    """The elements and the names of their attributes, without those that code in a text makes."""
    return [(tag, tuple(sorted(each))) for tag, each in tree.elements if tag not in ("code", "pre", "wbr", "div")]


@given(HOSTILE)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_text_breaks_out_of_the_page(text: str) -> None:
    run, tame = small(f"x{text}"), small("x")
    tree = Tree(to_html(run, past_of(run)))
    assert tree.open == []
    assert outline(tree) == outline(Tree(to_html(tame, past_of(tame))))
    for _tag, attributes in tree.elements:
        assert not any(name.startswith("on") or name in ("style", "src") for name in attributes)
        assert str(attributes.get("href", "#")).startswith(("#", "data:,"))
    assert run.tasks[0].title in "".join(tree.texts)


def test_few_moments_or_other_rows_have_no_histogram() -> None:
    def drawn(unit: str, count: int) -> bool:
        rows = [{"at": f"2026-11-{day + 1:02}T00:00:00.000Z", "n": day} for day in range(count)]
        table = Table("t", "t", [Column("at", "At", unit), Column("n", "N", COUNT)], rows, plot="n")
        page = to_html(
            Run("h", "", STARTED, 1.0, [TaskResult("n", "k", 1.0, Section("t", "s", tables=[table]))]), NO_PAST
        )
        return 'class="histogram"' in page

    assert [drawn("time", 4), drawn("time", 3), drawn("text", 4)] == [True, False, False]


def test_notes_and_plans_are_shown() -> None:
    run = sample_run()
    history = History(notes=["2 lines of `figures.jsonl` could not be read."])
    for text in (to_html(run, history), to_markdown(run, history)):
        assert "2 lines of" in text
        assert "would change" in text
    done = replace(run, tasks=[replace(run.tasks[2], acted=True)])
    assert "changed" in to_markdown(done, NO_PAST) and "would change" not in to_markdown(done, NO_PAST)


def test_the_page_lies_in_python_files() -> None:
    """Of module_utils, Ansible sends a host the Python files that are imported, and no other."""
    room = Path(__file__).parents[2] / "plugins/module_utils/_maintenance/_report"
    assert {path.suffix for path in room.iterdir() if path.is_file()} == {".py"}
