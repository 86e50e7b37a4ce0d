"""The default template of `report.render`, for plans without their own."""

TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6475; --line: #dfe3ea;
  --paper: #fff; --band: #f6f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #2d3442; --paper: #14181f;
    --band: #1a1f28; } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2.5rem 1.5rem; max-width: 72rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2; letter-spacing: -.01em }
p, .count { color: var(--soft); margin: .5rem 0 0 }
dl { display: flex; flex-wrap: wrap; gap: .75rem 2.5rem; margin: 1.5rem 0 0 }
dt { color: var(--soft); font-size: .8125rem }
dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums }
.scroll { overflow-x: auto; margin-top: 1.5rem }
table { border-collapse: collapse; width: 100%; font-size: .9375rem }
th, td { padding: .5rem .75rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line) }
th { color: var(--soft); font-weight: 600; white-space: nowrap }
tbody tr:nth-child(even) { background: var(--band) }
.n { text-align: right; font-variant-numeric: tabular-nums }
@media print { body { padding: 0; max-width: none } tr { break-inside: avoid } }
</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
{% if summary %}<p>{{ summary }}</p>{% endif %}

</header>
{% if values %}
<dl>
{% for name, value in values|dictsort %}
<div><dt>{{ name }}</dt><dd>{{ value }}</dd></div>
{% endfor %}
</dl>
{% endif %}
{% if columns %}
<div class="scroll">
<table>
<thead><tr>
{% for name in columns %}
<th scope="col"{% if name in numeric %} class="n"{% endif %}>{{ name }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in rows %}
<tr>
{% for name in columns %}
<td{% if name in numeric %} class="n"{% endif %}>{{ row.get(name, "") if row.get(name) is not none else "" }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="count">{{ rows|length }} rows</p>
{% else %}
<p>There are no rows.</p>
{% endif %}
</body>
</html>
"""
