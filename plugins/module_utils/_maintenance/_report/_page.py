# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a report as a Jinja2 template; every value is escaped by the environment that renders it.

PRIVATE to the collection; may change without notice. A Python string, because Ansible sends only Python to a host.

The page has no script and asks nobody for anything: its policy forbids both, whatever a value might smuggle in.
"""

from __future__ import annotations

POLICY = "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"
"""For the browser. The icon is an empty one, so that none is asked for beside the page."""

ICONS = {
    "critical": "M5 0h6l5 5v6l-5 5H5l-5-5V5zm2 3.5v5.5h2V3.5zm0 7v2h2v-2z",
    "warning": "M8 .8 16 15H0zM7 6v4.5h2V6zm0 5.7v1.8h2v-1.8z",
    "info": "M8 0a8 8 0 1 1 0 16A8 8 0 0 1 8 0zM7 3.5v2h2v-2zm0 3.5v5.5h2V7z",
    "good": "M8 0a8 8 0 1 1 0 16A8 8 0 0 1 8 0zm3.6 4.6L7 9.2 4.6 6.8 3.2 8.2 7 12l6-6z",
}
"""Shapes of 16 × 16 that tell severities apart without colour."""

TEMPLATE = """\
{% macro icon(name) %}<svg class="icon" aria-hidden="true"><use href="#{{ name }}"/></svg>{% endmacro %}
{% macro sentence(parts) %}
{% for part in parts %}{% if part.code %}<code>{{ part.text }}</code>{% else %}{{ part.text }}{% endif %}{% endfor %}
{% endmacro %}
{% macro advice(parts) %}
{% if parts %}
<div class="advice">
{%- for part in parts %}{% if part.command %}<pre class="command"><code>{{ part.text.strip() }}</code></pre>
{%- elif part.code %}<code>{{ part.text }}</code>{% else %}{{ part.text }}{% endif %}{% endfor -%}
</div>
{% endif %}
{% endmacro %}
{% macro line(plot, id) %}
<svg class="line" viewBox="0 0 {{ width }} {{ height }}" role="img" aria-labelledby="{{ id }}-t {{ id }}-d">
<title id="{{ id }}-t">{{ plot.title }}</title>
<desc id="{{ id }}-d">{{ plot.description }}</desc>
{% for tick in plot.line.values %}
<line class="grid" x1="{{ left }}" x2="{{ width - right }}" y1="{{ tick.position | round(1) }}" \
y2="{{ tick.position | round(1) }}"/>
<text x="{{ left - 6 }}" y="{{ (tick.position + 4) | round(1) }}" text-anchor="end">{{ tick.label }}</text>
{% endfor %}
{% for tick in plot.line.times %}
<text x="{{ tick.position | round(1) }}" y="{{ height - 4 }}" text-anchor="{{ 'start' if loop.first else 'end' }}">\
{{ tick.label }}</text>
{% endfor %}
<path class="area" d="{{ plot.line.area }}"/>
<path class="way" d="{{ plot.line.path }}"/>
{% for point in plot.line.points %}
<circle class="point{{ ' last' if loop.last }}" cx="{{ point.x | round(1) }}" cy="{{ point.y | round(1) }}" \
r="{{ 3.5 if loop.last else 4 }}"><title>{{ plot.moments[loop.index0] | join(': ') }}</title></circle>
{% endfor %}
</svg>
{% endmacro %}
{% macro histogram(plot, id) %}
<figure class="histogram">
<p class="quiet">Most: {{ plot.most }}</p>
<svg viewBox="0 0 {{ plot.columns | length }} 100" preserveAspectRatio="none" role="img" \
aria-labelledby="{{ id }}-t {{ id }}-d">
<title id="{{ id }}-t">{{ plot.title }}</title>
<desc id="{{ id }}-d">{{ plot.description }}</desc>
{% for length, label in plot.columns %}
<g><title>{{ label }}</title><rect class="track" x="{{ loop.index0 }}.1" width=".8" height="100"/>\
<rect class="fill" x="{{ loop.index0 }}.1" width=".8" y="{{ (100 - length) | round(2) }}" \
height="{{ length | round(2) }}"/></g>
{% endfor %}
</svg>
<p class="ends quiet"><span>{{ plot.ends[0] }}</span><span>{{ plot.ends[1] }}</span></p>
</figure>
{% endmacro %}
{% macro cell(each) %}
{% if each.length is not none %}
<div><svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img"><title>{{ each.title }}</title>\
<rect class="track" width="100" height="8"/><rect class="fill" width="{{ each.length | round(2) }}" height="8"/></svg>\
<span>{{ each.text }}</span></div>
{%- elif each.more %}
<details><summary><code>{{ each.text }}</code></summary><pre><code>{{ each.more }}</code></pre></details>
{%- elif each.code %}
<code>{{ each.text | breakable }}</code>
{%- else %}
{{ each.text }}
{%- endif %}
{% endmacro %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex, nofollow">
<link rel="icon" href="data:,">
<title>{{ heading }}, {{ started }}</title>
<style>{{ style }}</style>
</head>
<body>
<svg width="0" height="0" aria-hidden="true">
{% for name, path in icons.items() %}
<symbol id="i-{{ name }}" viewBox="0 0 16 16"><path fill-rule="evenodd" d="{{ path }}"/></symbol>
{% endfor %}
</svg>
<a class="skip" href="#findings">To the findings</a>
<div class="page">
<header>
<p class="kicker">{{ kicker }}</p>
<h1>{{ host }}</h1>
<p class="when">{{ started }} · {{ took }}</p>
<div class="verdict">
{% for chip in chips %}
<a class="chip {{ chip.tone }}" href="#{{ chip.anchor }}">{{ icon('i-' ~ chip.tone) }}{{ chip.text }}</a>
{% else %}
<span class="chip good">{{ icon('i-good') }}Nothing to report</span>
{% endfor %}
</div>
{% for note in notes %}
<p class="note">{{ sentence(note) }}</p>
{% endfor %}
</header>
<div class="columns">
<nav aria-labelledby="tasks">
<h2 id="tasks">Tasks</h2>
<ul>
{% for task in tasks %}
<li><a class="{{ task.tone }}" href="#{{ task.id }}">{{ icon('i-' ~ task.tone) }}<span>{{ task.title }}</span>\
{% if task.count %}<span class="count" title="findings">{{ task.count }}</span>{% endif %}</a></li>
{% endfor %}
</ul>
</nav>
<main>
<section class="findings" id="findings" aria-labelledby="findings-title">
<h2 id="findings-title">Findings</h2>
{% if findings %}
<ol>
{% for finding in findings %}
<li class="finding {{ finding.severity }}" id="{{ finding.id }}">
<header><span class="tone">{{ icon('i-' ~ finding.severity) }}{{ finding.label }}</span>
{% if finding.subject %}<code>{{ finding.subject | breakable }}</code>{% endif %}
<a href="#{{ finding.task.id }}">{{ finding.task.title }}</a></header>
<p class="text">{{ sentence(finding.text) }}</p>
{{ advice(finding.advice) }}
</li>
{% endfor %}
</ol>
{% else %}
<p class="well">{{ icon('i-good') }}Nothing needs anybody's attention.</p>
{% endif %}
</section>
{% for task in tasks %}
<section class="task" id="{{ task.id }}" aria-labelledby="{{ task.id }}-title">
<header><h2 id="{{ task.id }}-title">{{ task.title }}</h2>
{% for chip in task.chips %}
<a class="chip {{ chip.tone }}" href="#{{ chip.anchor }}">{{ icon('i-' ~ chip.tone) }}{{ chip.text }}</a>
{% endfor %}
{% if task.outcome %}<span class="chip">{{ task.outcome }}</span>{% endif %}
</header>
<p class="facts quiet"><span>{{ task.name }}</span><span>{{ task.kind }}</span><span>{{ task.took }}</span></p>
{% if task.failure %}<p class="failure">{{ sentence(task.failure) }}</p>{% endif %}
{% if task.summary %}<p class="summary">{{ sentence(task.summary) }}</p>{% endif %}
{% if task.figures %}
<div class="figures">
{% for figure in task.figures %}
<figure class="figure" aria-labelledby="{{ figure.id }}">
<h3 id="{{ figure.id }}">{{ figure.title }}</h3>
<p class="value">{{ figure.value }}</p>
<p class="change">{{ figure.change }}</p>
{% if figure.plot %}
{{ line(figure.plot, figure.id) }}
<details><summary>As a table</summary>
<div class="values" tabindex="0" role="region" aria-labelledby="{{ figure.id }}"><table>
<thead><tr><th scope="col">Time</th><th scope="col" class="number">Value</th></tr></thead>
<tbody>
{% for at, value in figure.plot.moments | reverse %}
<tr><th scope="row" class="time">{{ at }}</th><td class="number">{{ value }}</td></tr>
{% endfor %}
</tbody>
</table></div></details>
{% endif %}
</figure>
{% endfor %}
</div>
{% endif %}
{% for table in task.tables %}
<div class="table">
<h3 id="{{ table.id }}">{{ table.title }}</h3>
{% if table.histogram %}
{{ histogram(table.histogram, table.id) }}
<details><summary>As a table</summary>
{% endif %}
{% if table.rows %}
<div class="scroll" tabindex="0" role="region" aria-labelledby="{{ table.id }}">
<table aria-labelledby="{{ table.id }}">
<thead><tr>
{% for column in table.columns %}
<th scope="col" class="{{ column.classes }}">{{ column.title }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in table.rows %}
<tr>{% for each in row %}{% if loop.first %}<th scope="row" class="{{ each.classes }}">{{ cell(each) }}</th>\
{% else %}<td class="{{ each.classes }}">{{ cell(each) }}</td>{% endif %}{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% else %}
<p class="none">None.</p>
{% endif %}
{% if table.histogram %}
</details>
{% endif %}
{% if table.note %}<p class="quiet">{{ sentence(table.note) }}</p>{% endif %}
</div>
{% endfor %}
</section>
{% endfor %}
<footer class="quiet">Written by holdfast.ops. Programs read the same from the JSON beside this page. \
A click on a command selects all of it.</footer>
</main>
</div>
</div>
</body>
</html>
"""
