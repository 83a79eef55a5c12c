"use strict";
(() => {
  const LANE = 16;
  const FIRST = 50;
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  // Every text is set as text: nothing of the JSON is ever read as HTML.
  const element = (name, attributes = {}, ...children) => {
    const made = name === "svg" || name === "line" || name === "circle" || name === "title"
      ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== false) made.setAttribute(key, value);
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  };
  const time = (seconds) => !seconds ? "0" : seconds < 1 ? `${Number((seconds * 1000).toPrecision(2))} ms`
    : `${Number(seconds.toPrecision(3))} s`;

  const table = (caption, columns, rows, className = "") => {
    const body = element("tbody", {role: "rowgroup"});
    const head = columns.map((column) => element("th", {scope: "col", role: "columnheader"}, column));
    // The roles are written out: where a narrow page shows a row as a block, a screen reader still reads a table.
    const box = element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption},
      element("table", {class: `stack ${className}`, role: "table"}, element("caption", {}, caption),
        element("thead", {role: "rowgroup"}, element("tr", {role: "row"}, ...head)), body));
    const show = (from, to) => {
      for (const make of rows.slice(from, to)) {
        const row = make();
        row.setAttribute("role", "row");
        Array.from(row.cells).forEach((cell, number) => {
          cell.setAttribute("role", cell.tagName === "TH" ? "rowheader" : "cell");
          cell.dataset.label = columns[number];
        });
        body.append(row);
      }
    };
    show(0, FIRST);
    if (rows.length <= FIRST) return [box];
    const more = element("button", {type: "button", class: "more"}, `Show all ${rows.length}`);
    more.addEventListener("click", () => { show(FIRST, rows.length); more.remove(); box.focus(); });
    return [box, more];
  };

  // What is drawn beside a row: the lines that pass it, from its upper edge by its middle to its lower edge.
  const lineParts = (lines, count) => {
    const parts = Array.from({length: count}, () => []);
    for (const [start, end, waits, bends] of lines) {
      const places = [lines.lane(start), ...bends, lines.lane(end)];
      for (let row = start; row <= end; row += 1) {
        const here = places[row - start];
        if (row > start) parts[row].push([(places[row - start - 1] + here) / 2, "0%", here, "50%", waits]);
        if (row < end) parts[row].push([here, "50%", (here + places[row - start + 1]) / 2, "100%", waits]);
      }
    }
    return parts;
  };

  const graph = (data, applied) => {
    const count = data.revisions.length;
    if (data.lanes === null) return null;
    const [width, rows, lines] = data.lanes ?? [1, data.revisions.map(() => 0),
      data.revisions.slice(1).map((_, row) => [row, row + 1, false, []])];
    lines.lane = (row) => rows[row];
    const parts = lineParts(lines, count);
    const x = (lane) => LANE * (lane + 0.75);
    return (row) => {
      const svg = element("svg", {"aria-hidden": "true", focusable: "false"});
      for (const [x1, y1, x2, y2, waits] of parts[row])
        svg.append(element("line", {x1: x(x1), y1, x2: x(x2), y2, class: waits ? "waits" : "follows"}));
      svg.append(element("circle", {cx: x(rows[row]), cy: "50%", r: 5, class: applied(row) ? "applied" : "pending"}));
      const spacer = element("span", {class: "out"}, `lane ${rows[row] + 1}`);
      const cell = element("td", {class: "lanes"}, svg, width > 1 ? spacer : null);
      cell.style.minWidth = cell.style.width = `${LANE * (width + 0.5)}px`;
      return cell;
    };
  };

  const history = (name, data) => {
    const pending = new Set(data.pending ?? []);
    const known = data.pending !== null;
    const ran = new Map();
    for (const run of data.runs) if (data.texts[run[1]] === "upgrade" && !ran.has(run[0])) ran.set(run[0], run);
    const cell = graph(data, (row) => known && !pending.has(row));
    const columns = [...(cell ? ["Graph"] : []), "Revision", "Message", ...(data.links ? ["Follows", "Waits for"] : []), "Ran"];
    const tag = (text, kind, isShown = true) => isShown ? element("span", {class: `tag ${kind}`}, text) : null;
    const rows = data.revisions.map(([id, message, file], row) => () => {
      const run = ran.get(row);
      return element("tr", {},
        ...(cell ? [cell(row)] : []),
        element("th", {scope: "row"}, element("code", {class: "nowrap"}, id), " ",
          tag("head", "head", data.heads.includes(row)), tag("database", "current", data.current.includes(row)),
          tag("pending", "pending", pending.has(row)), tag("edited", "edited", data.edited.includes(row)),
          ...(data.labels[row] ?? []).map((label) => tag(label, "label"))),
        element("td", {class: "message"}, message || "–", element("span", {class: "sub"}, file)),
        ...(data.links ? [element("td", {}, element("code", {}, data.links[row][0].join(", ") || "base")),
          element("td", {}, element("code", {}, data.links[row][1].join(", ") || "–"))] : []),
        element("td", {}, run ? run[4] : known && !pending.has(row) ? "applied" : "–",
          run ? element("span", {class: "sub"}, `${time(run[5])}, ${data.texts[run[6]]}`) : null));
    });
    return [element("h4", {}, "History"),
      ...(data.lanes === null ? [element("p", {class: "note"}, "The lines of this history are left out: their layout needs igraph.")] : []),
      ...table(`Revisions of ${name}, the newest first`, columns, rows, "history")];
  };

  const evidence = (name, data) => {
    if (!data.evidence.length) return [];
    const directions = data.versions.flatMap((version, number) => [0, 1]
      .filter((down) => data.evidence.some(([, , found]) => found.some((each) => each[0] === number && each[1] === down)))
      .map((down) => [number, down, `PostgreSQL ${version}, ${down ? "downgrade" : "upgrade"}`]));
    const measured = (found) => {
      if (!found) return element("td", {class: "quiet"}, "–");
      const [, , level, lock, waits, rewrites, later, error] = found;
      if (error) return element("td", {class: `level-${level}`}, "failed", element("span", {class: "sub"}, error));
      return element("td", {class: `level-${level}`},
        lock ? `${data.texts[lock[0]]} on ${data.texts[lock[1]]}, ${time(lock[2])}` : "no lock",
        element("span", {class: "sub"}, [waits ? `others wait ${time(waits)}` : "nobody waits",
          rewrites ? `rewrites ${rewrites}` : "", later ? `10M rows: ${time(later)}` : ""].filter(Boolean).join("; ")));
    };
    const rows = [...data.evidence].sort((one, other) => one[0] - other[0]).map(([row, isCurrent, found]) => () => element("tr", {},
      element("th", {scope: "row"}, element("code", {}, data.revisions[row][0]), element("span", {class: "sub"}, data.revisions[row][1]),
        isCurrent ? null : element("span", {class: "tag edited"}, "outdated: edited since")),
      ...directions.map(([number, down]) => measured(found.find((each) => each[0] === number && each[1] === down)))));
    return [element("h4", {}, "Evidence"), ...table(`Measured locks of ${name}, the newest revision first`,
      ["Revision", ...directions.map(([, , label]) => label)], rows)];
  };

  const ledger = (name, data) => {
    const id = (value) => element("code", {}, typeof value === "number" ? data.revisions[value][0] : value || "base");
    const rows = data.runs.map(([, direction, from, to, started, seconds, by, commit, version]) => () => element("tr", {},
      element("td", {class: "nowrap"}, started || "–"), element("td", {}, data.texts[direction]), element("td", {}, id(from)),
      element("td", {}, id(to)), element("td", {class: "nowrap"}, time(seconds)), element("td", {}, data.texts[by]),
      element("td", {}, element("code", {}, data.texts[commit] || "–")), element("td", {}, data.texts[version])));
    if (!rows.length) return data.problem ? [element("h4", {}, "Ledger"), element("p", {class: "problem"}, data.problem)] : [];
    return [element("h4", {}, "Ledger"), ...table(`What was run on the database of ${name}, the newest first`,
      ["Started", "Direction", "From", "To", "Took", "By", "Commit", "Version"], rows)];
  };

  const drift = (data) => {
    if (data.drift === undefined) return [];
    const text = typeof data.drift === "string" ? [element("p", {class: "problem"}, data.drift)]
      : data.drift.length ? [element("ul", {class: "long"}, ...data.drift.map((line) => element("li", {}, line)))]
        : [element("p", {}, "The database is as its history says.")];
    return [element("h4", {}, "Drift"), ...text];
  };

  const fill = (cell, name, number) => {
    const data = JSON.parse(document.getElementById(`data-${number}`).textContent);
    cell.append(...(data.error ? [element("p", {class: "problem"}, data.error)] : []), ...drift(data),
      ...(data.revisions.length ? history(name, data) : [element("p", {class: "note"}, "There are no revisions.")]),
      ...evidence(name, data), ...ledger(name, data));
  };

  const toggles = new Map();
  for (const span of all("span.name")) {
    const row = span.closest("tr");
    const name = span.textContent;
    const button = element("button", {type: "button", "aria-expanded": "false", class: "name"}, name);
    let detail = null;
    const toggle = (open) => {
      if (!detail) {
        const cell = element("td", {colspan: String(row.cells.length), role: "cell"});
        detail = element("tr", {class: "detail", role: "row", id: `detail-${span.dataset.number}`}, cell);
        row.after(detail);
        button.setAttribute("aria-controls", detail.id);
        fill(cell, name, span.dataset.number);
      }
      detail.hidden = !open || row.hidden;
      button.setAttribute("aria-expanded", String(open));
    };
    button.addEventListener("click", () => toggle(button.getAttribute("aria-expanded") !== "true"));
    span.replaceWith(button);
    toggles.set(row, {button, toggle, update: () => { if (detail) toggle(button.getAttribute("aria-expanded") === "true"); }});
  }

  // A picture that is held as text is the page's own markup, in which every name is escaped.
  for (const database of all("details.database")) database.addEventListener("toggle", () => {
    const held = database.querySelector("script.held");
    if (!held) return;
    const template = document.createElement("template");
    template.innerHTML = held.textContent;
    held.replaceWith(template.content);
  });

  const input = document.getElementById("filter");
  const state = document.getElementById("state");
  const filter = () => {
    const words = input.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const fits = (name) => !words.length || words.some((word) => name.toLowerCase().includes(word));
    const shown = new Set();
    for (const [row, service] of toggles) {
      const isShown = fits(row.dataset.services) && (!state.value || row.dataset.state === state.value);
      row.hidden = !isShown;
      service.update();
      if (isShown) shown.add(row.dataset.services);
    }
    for (const item of all("[data-services]:not(tr.service)"))
      item.hidden = !item.dataset.services.split(" ").some((name) => shown.has(name));
    document.querySelector(".none").hidden = shown.size > 0;
    document.getElementById("shown").textContent = `${shown.size} of ${toggles.size} services`;
  };
  input.addEventListener("input", filter);
  state.addEventListener("change", filter);

  const follow = () => {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (row && toggles.has(row)) toggles.get(row).toggle(true);
  };
  window.addEventListener("hashchange", follow);
  document.querySelector("form.filter").addEventListener("submit", (event) => event.preventDefault());
  document.querySelector("form.filter").hidden = false;
  document.getElementById("open-hint").hidden = false;
  filter();
  follow();
  if (toggles.size === 1) for (const service of toggles.values()) service.toggle(true);
})();
