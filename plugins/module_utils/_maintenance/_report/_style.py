# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the page of a report looks: one style sheet, in light and dark, on paper and on a telephone.

PRIVATE to the collection; may change without notice. A Python string, because Ansible sends only Python to a host.

Colours are named for what they say. Each text has a contrast of at least 4.5 with what lies below it, each plot of at
least 3; a test in a browser measures them.
"""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f4f6f8; --card: #ffffff; --sunk: #f0f3f6; --rule: #dde3ea;
  --ink: #17202b; --quiet: #556270; --plot: #2c6cb0; --plot-soft: #2c6cb01f; --track: #e6ebf1;
  --critical: #b3261e; --critical-soft: #fcebea;
  --warning: #8a5200; --warning-soft: #fdf1dc;
  --info: #2a5d9c; --info-soft: #e8f0fa;
  --good: #1b6b3f; --good-soft: #e5f4eb;
  --shadow: 0 1px 2px #17202b14, 0 1px 6px #17202b0a;
  --mono: ui-monospace, SFMono-Regular, "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #10151b; --card: #181f28; --sunk: #202934; --rule: #2d3845;
    --ink: #e4eaf1; --quiet: #9fadbc; --plot: #6aaef5; --plot-soft: #6aaef52b; --track: #2a3541;
    --critical: #ff9d94; --critical-soft: #3b1c1b;
    --warning: #f2c165; --warning-soft: #362a12;
    --info: #92c2fb; --info-soft: #182e49;
    --good: #86d9a8; --good-soft: #14301f;
    --shadow: none;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1, h2, h3, p, ol, ul, dl, dd, figure { margin: 0; padding: 0; }
ol, ul { list-style: none; }
h1 { font-size: clamp(1.5rem, 1.2rem + 1.6vw, 2.125rem); line-height: 1.15; letter-spacing: -0.02em; }
h2 { font-size: 1.3125rem; line-height: 1.25; letter-spacing: -0.01em; }
h3 { font-size: 1rem; line-height: 1.3; }
a { color: inherit; text-decoration-color: var(--rule); text-underline-offset: 0.2em; }
a:hover { text-decoration-color: currentColor; }
:focus-visible { outline: 2px solid var(--plot); outline-offset: 2px; border-radius: 4px; }
svg { display: block; }
code { font-family: var(--mono); font-size: 0.875em; }
:not(pre) > code { background: var(--sunk); padding: 0.1em 0.35em; border-radius: 4px; }
.quiet { color: var(--quiet); font-size: 0.875rem; }
.icon { width: 1em; height: 1em; flex: none; fill: currentColor; }
.critical { --tone: var(--critical); --soft: var(--critical-soft); }
.warning { --tone: var(--warning); --soft: var(--warning-soft); }
.info { --tone: var(--info); --soft: var(--info-soft); }
.good { --tone: var(--good); --soft: var(--good-soft); }

.skip { position: absolute; left: -999rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--card); padding: 0.5rem 1rem; z-index: 1; }
.page { max-width: 80rem; margin: 0 auto; padding: clamp(1.25rem, 4vw, 3rem) clamp(1rem, 4vw, 2.5rem) 4rem; }
.kicker { color: var(--quiet); font-size: 0.875rem; font-weight: 600; margin-bottom: 0.25rem; }
.when { color: var(--quiet); margin-top: 0.5rem; }
.verdict { display: flex; flex-wrap: wrap; gap: 0.5rem; margin-top: 1.25rem; }
.chip {
  display: inline-flex; align-items: center; gap: 0.4em; padding: 0.25rem 0.7rem; border-radius: 99rem;
  background: var(--soft, var(--sunk)); color: var(--tone, var(--quiet)); font-weight: 600; font-size: 0.875rem;
  text-decoration: none; line-height: 1.4;
}
a.chip:hover { text-decoration: underline; }
.verdict .chip { font-size: 1rem; padding: 0.375rem 0.95rem; }
.note {
  margin-top: 1.25rem; padding: 0.75rem 1rem; border-left: 4px solid var(--warning); background: var(--warning-soft);
  border-radius: 4px;
}

.columns { display: grid; gap: 1.75rem; margin-top: 1.75rem; }
.columns > * { min-width: 0; }
nav { margin-left: -0.6rem; }
nav h2 { font-size: 0.875rem; letter-spacing: 0; color: var(--quiet); padding: 0 0.6rem; margin-bottom: 0.4rem; }
nav a {
  display: flex; gap: 0.6rem; align-items: baseline; padding: 0.4rem 0.6rem; border-radius: 6px;
  text-decoration: none; line-height: 1.35; font-size: 0.9375rem;
}
nav a:hover { background: var(--sunk); }
nav .icon { color: var(--tone); transform: translateY(0.125em); }
nav .count { margin-left: auto; color: var(--quiet); font-variant-numeric: tabular-nums; }
@media (max-width: 63.99rem) {
  nav ul { display: flex; gap: 0.5rem; overflow-x: auto; padding: 2px 0.6rem 0.5rem; scrollbar-width: thin; }
  nav a { background: var(--card); box-shadow: var(--shadow); white-space: nowrap; }
}
@media (min-width: 40rem) and (max-width: 63.99rem) {
  nav ul { flex-wrap: wrap; }
}
@media (min-width: 64rem) {
  .columns { grid-template-columns: 15rem minmax(0, 1fr); gap: 3rem; }
  nav {
    position: sticky; top: 1.5rem; align-self: start; max-height: calc(100vh - 3rem); overflow-y: auto;
  }
}

main > * + * { margin-top: 3rem; }
.findings > ol { display: grid; gap: 0.75rem; margin-top: 1rem; }
.finding {
  background: var(--card); border-radius: 8px; border-left: 4px solid var(--tone); box-shadow: var(--shadow);
  padding: 0.9rem 1.15rem 1rem; scroll-margin-top: 1rem;
}
.finding header { display: flex; flex-wrap: wrap; align-items: center; gap: 0.25rem 0.75rem; }
.tone {
  display: inline-flex; align-items: center; gap: 0.4em; color: var(--tone); font-weight: 700;
  font-size: 0.875rem;
}
.finding header code { font-weight: 600; }
.finding header a { margin-left: auto; font-size: 0.875rem; color: var(--quiet); }
.finding .text { margin-top: 0.35rem; max-width: 70ch; white-space: pre-line; }
.advice { margin-top: 0.5rem; color: var(--quiet); white-space: pre-line; }
pre.command {
  margin: 0.4rem 0 0; padding: 0.6rem 0.85rem; background: var(--sunk); color: var(--ink); border-radius: 6px;
  white-space: pre-wrap; line-height: 1.45;
}
.command code, .advice code { user-select: all; -webkit-user-select: all; cursor: text; }
.well { display: flex; gap: 0.75rem; align-items: center; margin-top: 1rem; padding: 1rem 1.15rem; border-radius: 8px;
  background: var(--good-soft); color: var(--good); font-weight: 600; }
.well .icon { font-size: 1.375rem; }

.task { scroll-margin-top: 1rem; padding-top: 1.5rem; border-top: 1px solid var(--rule); }
.task > header { display: flex; flex-wrap: wrap; gap: 0.35rem 0.75rem; align-items: center; }
.task > header h2 { flex: 1 1 18rem; }
.facts { margin-top: 0.3rem; }
.facts > * + *::before { content: "· "; margin-left: 0.35em; }
.summary { margin-top: 0.75rem; max-width: 75ch; white-space: pre-line; }
.failure { margin-top: 0.75rem; padding: 0.75rem 1rem; border-radius: 8px; background: var(--critical-soft); }
.figures {
  display: grid; gap: 0.75rem; margin-top: 1.25rem;
  grid-template-columns: repeat(auto-fill, minmax(min(17.5rem, 100%), 1fr));
}
.figure { background: var(--card); border-radius: 8px; box-shadow: var(--shadow); padding: 0.9rem 1.15rem; }
.figure h3 { font-size: 0.875rem; font-weight: 600; color: var(--quiet); }
.figure .value {
  font-size: 1.5rem; font-weight: 650; letter-spacing: -0.02em; line-height: 1.3;
  font-variant-numeric: tabular-nums;
}
.figure .change { color: var(--quiet); font-size: 0.875rem; }
.line { width: 100%; height: auto; margin-top: 0.5rem; }
.line text { fill: var(--quiet); font-size: 12px; font-variant-numeric: tabular-nums; }
.line .grid { stroke: var(--rule); stroke-width: 1; vector-effect: non-scaling-stroke; }
.line .way {
  fill: none; stroke: var(--plot); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round;
  vector-effect: non-scaling-stroke;
}
.line .area { fill: var(--plot-soft); }
.line .point { fill: var(--plot); fill-opacity: 0; }
.line .point:hover, .line .last { fill-opacity: 1; }
details { margin-top: 0.35rem; }
summary { cursor: pointer; color: var(--quiet); font-size: 0.875rem; border-radius: 4px; }
summary:hover { color: var(--ink); }
.values { max-height: 16rem; overflow: auto; margin-top: 0.35rem; }

.table { margin-top: 1.75rem; }
.scroll {
  margin-top: 0.6rem; overflow-x: auto; background: var(--card); border-radius: 8px;
  box-shadow: var(--shadow);
}
table {
  border-collapse: collapse; width: 100%; font-size: 0.9375rem; line-height: 1.4;
  font-variant-numeric: tabular-nums;
}
th, td { padding: 0.5rem 0.75rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { padding-left: 1.15rem; }
th:last-child, td:last-child { padding-right: 1.15rem; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--quiet); font-size: 0.8125rem; font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 400; }
tbody tr:hover { background: var(--sunk); }
.number, .time { white-space: nowrap; overflow-wrap: normal; }
.number { text-align: right; }
.code code { background: none; padding: 0; }
.code, .words { min-width: min(10rem, 40vw); }
.long { min-width: min(24rem, 56vw); }
.long details { margin: 0; }
.long summary { color: inherit; }
.long pre { margin: 0.4rem 0 0; white-space: pre-wrap; }
.plot { width: 30%; min-width: 8rem; text-align: left; }
.plot > div { display: grid; grid-template-columns: minmax(3rem, 1fr) 5.25rem; gap: 0.75rem; align-items: center; }
.plot span { text-align: right; white-space: nowrap; }
thead .plot { text-align: right; }
.bar { width: 100%; height: 0.625rem; border-radius: 3px; overflow: hidden; }
.bar .track { fill: var(--track); }
.bar .fill { fill: var(--plot); }
.histogram {
  margin-top: 0.6rem; padding: 0.75rem 1.15rem; background: var(--card); border-radius: 8px; box-shadow: var(--shadow);
}
.histogram svg { width: 100%; height: 6rem; margin: 0.4rem 0; border-bottom: 1px solid var(--quiet); }
.histogram .track { fill: var(--plot); fill-opacity: 0; }
.histogram g:hover .track { fill-opacity: 0.12; }
.histogram .fill { fill: var(--plot); }
.ends { display: flex; justify-content: space-between; gap: 1rem; }
.ends span:last-child { text-align: right; }
.none { margin-top: 0.4rem; color: var(--quiet); }
.table > .quiet { margin-top: 0.5rem; max-width: 75ch; }
footer { margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--rule); max-width: none; }

@media (max-width: 40rem) {
  .plot { min-width: 6.75rem; width: auto; }
  .plot > div { grid-template-columns: 1fr; gap: 0.3rem; }
  .plot span, thead .plot { text-align: left; }
  .finding header a { margin-left: 0; width: 100%; }
  th, td { padding: 0.5rem 0.6rem; }
}
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
@media print {
  @page { margin: 16mm 14mm; }
  :root { --page: #ffffff; --shadow: none; }
  html { font-size: 9.5pt; }
  body { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  .page { max-width: none; padding: 0; }
  nav, .skip, .figure details { display: none; }
  .columns { display: block; }
  .finding, .figure, .histogram, tr, .table > h3 { break-inside: avoid; }
  h2, h3, thead { break-after: avoid; }
  .finding, .figure, .histogram, .scroll { border: 1px solid var(--rule); }
  .finding { border-left: 4px solid var(--tone); }
  .scroll { overflow: visible; }
  .code, .words, .long { min-width: 0; }
  .figures { grid-template-columns: repeat(3, 1fr); }
}
"""
