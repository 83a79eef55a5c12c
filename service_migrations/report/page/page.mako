<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="service-migrations">
<title>Migrations of ${report.title}</title>
<style>${style | n}</style>
</head>
<body>
<a class="skip" href="#services">Skip to the services</a>
<header>
<div class="bar">
<h1>Migrations of ${report.title}</h1>
<p class="made">Made ${moment(report.made)} UTC, as are all times${f" from commit {report.commit[:12]}" if report.commit else ""}</p>
<nav aria-label="Sections">
<ul>
<li><a href="#services">Services</a></li>
<li><a href="#databases">Databases</a></li>
<li><a href="#evidence">Evidence</a></li>
<li><a href="#time-line">Time line</a></li>
</ul>
</nav>
<form class="filter" role="search" aria-label="Filter" hidden>
<div>
<label for="filter">Filter by service</label>
<input id="filter" type="search" autocomplete="off" spellcheck="false" placeholder="billing, catalog …">
</div>
<div>
<label for="state">State</label>
<select id="state">
<option value="">all</option>
% for state in ("at head", "behind", "error"):
<option>${state}</option>
% endfor
</select>
</div>
<output id="shown" for="filter state"></output>
</form>
</div>
</header>
<main>
<dl class="counts">
% for label, number, state in counts:
<div class="${state.replace(" ", "-") if number else "quiet"}"><dt>${label}</dt><dd>${number}</dd></div>
% endfor
</dl>

<section id="services" aria-labelledby="services-title" tabindex="-1">
<h2 id="services-title">Services</h2>
<p class="hint" id="open-hint" hidden>Open a service for its history, its evidence and its ledger.</p>
<table class="cards services" role="table">
<caption>Where each service is</caption>
<thead role="rowgroup"><tr role="row">
% for label in ("Service", "Database", "State", "Revision", "Head", "Pending", "Drift", "Last run", "By"):
<th scope="col" role="columnheader"${' class="number"' if label == "Pending" else "" | n}>${label}</th>
% endfor
</tr></thead>
<tbody role="rowgroup">
% for number, service in enumerate(services):
<% status = service.status %>\
<% text, kind = drift(service) %>\
<tr role="row" class="service" data-services="${service.name}" data-state="${status.state}" id="service-${service.name}">
<th scope="row" role="rowheader"><span class="name" data-number="${number}">${service.name}</span></th>
<td role="cell" data-label="Database"><span class="long">${status.target or "no settings"}</span></td>
<td role="cell" data-label="State"><span class="badge ${status.state.replace(" ", "-")}">${status.state}</span>\
% if status.error:
<span class="why long">${status.error}</span>\
% endif
% if status.edited:
<span class="why">${len(status.edited)} edited</span>\
% endif
</td>
<td role="cell" data-label="Revision"><code>${", ".join(status.current) or ("–" if status.error else "base")}</code></td>
<td role="cell" data-label="Head"><code>${", ".join(status.heads) or "–"}</code></td>
<td role="cell" data-label="Pending" class="number">${"–" if status.pending is None else status.pending}</td>
<td role="cell" data-label="Drift"><span class="${"quiet" if kind == "quiet" else "badge " + kind}">${text}</span></td>
<td role="cell" data-label="Last run">${moment(service.last.started) if service.last else "–"}</td>
<td role="cell" data-label="By"><span class="long">${f"{service.last.os_user}@{service.last.host}" if service.last else "–"}</span></td>
</tr>
% endfor
</tbody>
</table>
<p class="none" hidden>No service fits.</p>
</section>

<section id="databases" aria-labelledby="databases-title">
<h2 id="databases-title">Databases</h2>
% if extra:
<p class="note">The pictures are left out: their layout needs igraph. Install <code>${extra}</code>.</p>
% endif
% for number, (database, shape) in enumerate(databases):
<details class="database" data-services="${" ".join(database.services)}"${"" if is_held else " open"}>
<summary><h3>${database.name}</h3> <span class="quiet">${database.target or "from the models: the database wasn't read"} · ${len(database.entities)} ${"table" if len(database.entities) == 1 else "tables"}</span></summary>
% for problem in database.problems:
<p class="problem">${problem}</p>
% endfor
% if shape:
% if is_held:
<script type="text/plain" class="held">
% endif
<figure>
<div class="scroll" tabindex="0" role="region" aria-label="Entity diagram of ${database.name}">
<svg class="diagram" width="${shape.width}" height="${shape.height}" viewBox="0 0 ${shape.width} ${shape.height}" role="img" aria-labelledby="diagram-${number}-title diagram-${number}-text">
<title id="diagram-${number}-title">Entity diagram of ${database.name}</title>
<desc id="diagram-${number}-text">${described(shape, database)}</desc>
<defs>
<marker id="many-${number}" viewBox="0 0 12 12" refX="0.5" refY="6" markerWidth="12" markerHeight="12" orient="auto" markerUnits="userSpaceOnUse"><path class="foot" d="M0.5 1L11 6L0.5 11M0.5 6H11"/></marker>
<marker id="one-${number}" viewBox="0 0 12 12" refX="11.5" refY="6" markerWidth="12" markerHeight="12" orient="auto" markerUnits="userSpaceOnUse"><path class="foot" d="M6 1V11"/></marker>
</defs>
% for path in shape.paths:
<path class="key" d="${path.text}" marker-start="url(#many-${number})" marker-end="url(#one-${number})"><title>${path.reference.table} (${", ".join(path.reference.columns)}) refers to ${path.reference.target}</title></path>
% endfor
% for box in shape.boxes:
<g class="entity ${f"owner-{colour[box.entity.owner]}" if box.entity.owner in colour else "nobody"}" transform="translate(${f"{box.x:g} {box.y:g}"})">
<title>${box.entity.name}: ${box.entity.owner or "nobody"}${f". {box.entity.comment}" if box.entity.comment else ""}</title>
<rect class="box" width="${box.width}" height="${f"{box.height:g}"}" rx="6"/>
<path class="head" d="M0 42V6a6 6 0 0 1 6-6H${box.width - 6}a6 6 0 0 1 6 6V42z"/>
<text class="title" x="10" y="19">${box.entity.name}</text>
<text class="by" x="10" y="34">${box.entity.owner or "nobody"}</text>
% for row, attribute in enumerate(box.attributes):
<text class="key-name" x="10" y="${42 + 21 * row + 15}">${" ".join(attribute.keys)}</text>
<text class="column${" primary" if "PK" in attribute.keys else ""}" x="${50 if len(attribute.keys) > 1 else 34}" y="${42 + 21 * row + 15}">${attribute.name}</text>
<text class="type" x="${box.width - 10}" y="${42 + 21 * row + 15}" text-anchor="end">${attribute.type}${"" if attribute.not_null else "?"}</text>
% endfor
% if box.more:
<text class="type" x="34" y="${42 + 21 * len(box.attributes) + 15}">and ${box.more} more</text>
% endif
</g>
% endfor
</svg>
</div>
<figcaption>
<ul class="legend" aria-label="Owners">
% for owner in owners(database):
<li class="${f"owner-{colour[owner]}" if owner in colour else "nobody"}">${owner or "nobody"}</li>
% endfor
</ul>
<span class="quiet">A type with a question mark may be null.</span>
</figcaption>
</figure>
% if is_held:
</script>
% endif
% endif
% if database.entities:
<details class="text"${"" if shape else " open"}>
<summary>The same as a table</summary>
<div class="scroll" tabindex="0" role="region" aria-label="Tables of ${database.name}">
<table class="entities">
<caption>Tables of ${database.name}</caption>
<thead><tr><th scope="col">Table</th><th scope="col">Owner</th><th scope="col">Columns</th><th scope="col">Refers to</th></tr></thead>
<tbody>
% for entity in database.entities:
<tr><th scope="row">${entity.name}</th><td>${entity.owner or "nobody"}</td>
<td>${", ".join(f"{each.name} {each.type}" + ("" if each.not_null else " null") + "".join(f" {key}" for key in each.keys) for each in entity.attributes)}</td>
<td>${", ".join(f"{each.target} ({', '.join(each.columns)})" for each in database.references if each.table == entity.name) or "–"}</td></tr>
% endfor
</tbody>
</table>
</div>
</details>
% else:
<p class="quiet">No table is known.</p>
% endif
</details>
% endfor
</section>

<section id="evidence" aria-labelledby="evidence-title">
<h2 id="evidence-title">Evidence</h2>
% if versions:
<p class="hint">How long readers or writers had to wait for a revision, measured on throw-away servers. Each square is a revision, the oldest first.</p>
<ul class="legend levels" aria-label="Levels">
% for number, text in enumerate(levels):
<li class="level-${number}">${text}</li>
% endfor
<li class="level-none">not measured</li>
</ul>
<div class="scroll" tabindex="0" role="region" aria-labelledby="evidence-title">
<table class="matrix">
<caption>The longest wait of each service's revisions, by version of PostgreSQL</caption>
<thead><tr><th scope="col">Service</th>
% for version in versions:
<th scope="col">PostgreSQL ${version}</th>
% endfor
<th scope="col">Revisions</th></tr></thead>
<tbody>
% for service in services:
% if service.evidence:
<% squares = strip(service) %>\
<tr data-services="${service.name}" data-state="${service.status.state}"><th scope="row">${service.name}</th>
% for version in versions:
<% found = cell(service, version) %>\
% if found:
<td class="level-${found[0]}">${found[1]}</td>
% else:
<td class="quiet">–</td>
% endif
% endfor
<td><svg class="strip" width="${min(15 * len(squares), 600)}" height="13" viewBox="0 0 ${15 * len(squares)} 13" preserveAspectRatio="none" role="img" aria-label="${len(squares)} revisions: ${", ".join(f"{squares.count(number)} {text}" for number, text in enumerate(levels) if number in squares)}">
% for kind in (*range(len(levels)), None):
% if kind in squares:
<path class="level-${"none" if kind is None else kind}" d="${"".join(f"M{15 * place} 0h13v13h-13z" for place, square in enumerate(squares) if square == kind)}"/>
% endif
% endfor
</svg></td>
</tr>
% endif
% endfor
</tbody>
</table>
</div>
% else:
<p class="note">No revision has been measured. <code>inv db.evidence --write</code> does it.</p>
% endif
</section>

<section id="time-line" aria-labelledby="time-line-title">
<h2 id="time-line-title">Time line</h2>
% if timeline:
<ul class="legend" aria-label="Directions">
<li class="mark-upgrade">upgrade</li><li class="mark-downgrade">downgrade</li><li class="mark-stamp">stamp or accept</li>
</ul>
<table class="tracks">
<caption>When something was run, by the ledgers</caption>
<thead><tr><th scope="col">Service</th><th scope="col">Runs</th><th scope="col"><span class="out">When</span>
<svg class="axis" width="100%" height="18" aria-hidden="true">
% for tick in timeline.ticks:
<text x="${f"{tick.x * 100 / width:g}"}%" y="13" text-anchor="${"start" if tick.x < 80 else "end" if tick.x > 920 else "middle"}">${tick.label}</text>
% endfor
</svg></th></tr></thead>
<tbody>
% for track in timeline.tracks:
<tr data-services="${track.service.name}" data-state="${track.service.status.state}"><th scope="row">${track.service.name}</th><td class="number">${len(track.service.runs)}</td>
<td><svg class="track" viewBox="0 0 ${width} 20" preserveAspectRatio="none" role="img" aria-label="${track.summary}">
% for tick in timeline.ticks:
<path class="tick" d="M${tick.x} 0V20"/>
% endfor
% for kind, names in (("stamp", ("stamp", "accept")), ("upgrade", ("upgrade",)), ("downgrade", ("downgrade",))):
<% places = [mark.x for mark in track.marks if mark.direction in names] %>\
% if places:
<path class="mark-${kind}" d="${"".join(f"M{x} 10h0" for x in places)}"/>
% endif
% endfor
</svg></td></tr>
% endfor
</tbody>
</table>
% else:
<p class="note">No ledger could be read, or none has an entry.</p>
% endif
</section>
</main>
<footer><p>Written by <code>inv db.report</code>. The file loads nothing.</p></footer>
% for number, service in enumerate(services):
<script type="application/json" id="data-${number}">${data(service) | n}</script>
% endfor
<script>${script | n}</script>
</body>
</html>
