"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const make = (tag, cls, text) => {
  const one = document.createElement(tag);
  if (cls) one.className = cls;
  if (text !== undefined && text !== null) one.textContent = text;
  return one;
};
const count = (number) => number === null || number === undefined ? "–" : number.toLocaleString("en");
const svg = $("graph"), scene = $("view");
const nodes = [...svg.querySelectorAll(".n")], edges = [...svg.querySelectorAll(".e")];
const nodeOf = new Map(nodes.map((one) => [+one.dataset.i, one]));
const edgeOf = new Map(edges.map((one) => [+one.dataset.w, one]));
const placeOf = new Map(data.places.map((one, index) => [one[0] + "\u0000" + one[1], index]));
const waysAt = new Map();
data.ways.forEach((way, index) => { if (!waysAt.has(way[0])) waysAt.set(way[0], []); waysAt.get(way[0]).push(index); });
const names = {reached: "reached", no_way: "nothing leads here", never: "never reached", not_met: "not met within the bounds",
  taken: "taken", offered: "offered, never taken", weight_zero: "weight 0", for_others: "for others", node_not_met: "its node was never met",
  both: "both sides", never_true: "never true", never_false: "never false", never_asked: "never asked",
  used: "used", never_read: "set, never read", never_set: "read, never set", idle: "never used",
  end: "end", open: "not marked as end", stuck: "stuck", hidden: "for others only"};
const good = new Set(["reached", "taken", "both", "used"]), grey = new Set(["no_way", "weight_zero", "for_others", "node_not_met", "never_asked", "idle"]);
const shade = (status) => good.has(status) ? "met" : status === "end" ? "end" : status === "stuck" ? "bad" : grey.has(status) ? "" : "never";
let current = 0;

// ---- the graph -----------------------------------------------------------------------------------------------------
const level = (hits, most) => hits ? Math.min(3, Math.floor(4 * Math.log(1 + hits) / Math.log(2 + most))) : 0;
function paint() {
  const view = data.views[current];
  const most = Math.max(1, ...view.hits.slice(0, 100000).map((one) => one));
  const ends = new Map(view.endings.map((one) => [placeOf.get(one.scene + "\u0000" + one.node), one.kind]));
  for (const node of nodes) {
    const index = +node.dataset.i, status = view.node_status[index];
    const kind = ends.get(index);
    const cls = kind === undefined ? (status === "reached" ? "met h" + level(view.hits[index], most) : status === "no_way" ? "" : "never")
      : kind === "end" || kind === "open" ? "end" : "bad";
    node.setAttribute("class", "n " + cls);
  }
  const widest = Math.max(1, ...view.taken);
  for (const edge of edges) {
    const index = +edge.dataset.w, status = view.way_status[index];
    edge.setAttribute("class", "e " + (status === "taken" ? "met h" + level(view.taken[index], widest)
      : grey.has(status) ? "" : "never"));
  }
  svg.classList.remove("path");
}
let box = null;
const whole = svg.viewBox.baseVal;
const full = {x: whole.x, y: whole.y, w: whole.width, h: whole.height};
function look(to) {
  box = to;
  svg.setAttribute("viewBox", to.x + " " + to.y + " " + to.w + " " + to.h);
  svg.classList.toggle("far", svg.clientWidth / to.w < 0.22);
}
const ratio = () => svg.clientWidth / Math.max(1, svg.clientHeight);
function fit(to) {
  const wide = Math.max(to.w, to.h * ratio()), high = wide / ratio();
  look({x: to.x - (wide - to.w) / 2, y: to.y - (high - to.h) / 2, w: wide, h: high});
}
function zoom(factor, x, y) {
  const cx = x === undefined ? box.x + box.w / 2 : x, cy = y === undefined ? box.y + box.h / 2 : y;
  const w = Math.min(full.w * 6, Math.max(120, box.w * factor)), real = w / box.w;
  look({x: cx - (cx - box.x) * real, y: cy - (cy - box.y) * real, w, h: box.h * real});
}
const at = (event) => {
  const frame = svg.getBoundingClientRect();
  return [box.x + (event.clientX - frame.left) / frame.width * box.w, box.y + (event.clientY - frame.top) / frame.height * box.h];
};
svg.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY > 0 ? 1.15 : 0.87, ...at(event)); }, {passive: false});
let held = null;
svg.addEventListener("pointerdown", (event) => { held = {x: event.clientX, y: event.clientY, moved: false, id: event.pointerId}; });
svg.addEventListener("pointermove", (event) => {
  if (!held || held.id !== event.pointerId) return;
  const dx = event.clientX - held.x, dy = event.clientY - held.y;
  if (!held.moved && Math.abs(dx) + Math.abs(dy) < 4) return;
  if (!held.moved) { held.moved = true; svg.setPointerCapture(event.pointerId); svg.classList.add("drag"); }
  look({...box, x: box.x - dx / svg.clientWidth * box.w, y: box.y - dy / svg.clientHeight * box.h});
  held.x = event.clientX; held.y = event.clientY;
});
const release = () => { held = null; svg.classList.remove("drag"); };
svg.addEventListener("pointerup", release); svg.addEventListener("pointercancel", release);
svg.addEventListener("click", (event) => {
  const node = event.target.closest(".n");
  if (node) show(+node.dataset.i);
});
$("in").onclick = () => zoom(0.7); $("out").onclick = () => zoom(1.4); $("fit").onclick = () => { fit(full); paint(); };
function near(index) {
  const node = nodeOf.get(index);
  if (!node) return;
  const own = node.getCTM(), root = scene.getCTM().inverse().multiply(own);
  const wide = Math.min(full.w, 1100);
  fit({x: root.e + 84 - wide / 2, y: root.f + 23 - wide / ratio() / 2, w: wide, h: wide / ratio()});
}

// ---- one node ------------------------------------------------------------------------------------------------------
function show(index) {
  const view = data.views[current], place = data.places[index], panel = $("panel");
  nodes.forEach((one) => one.classList.remove("on"));
  nodeOf.get(index)?.classList.add("on");
  panel.replaceChildren();
  panel.append(make("h3", "", place[1]), make("div", "where", place[0] + (place[2] ? " · " + place[2] : "") + " · " + count(place[4]) + " words"));
  const status = make("p");
  status.append(make("span", "s " + shade(view.node_status[index]), names[view.node_status[index]]), " ",
    make("span", "dim", view.hits[index] ? count(view.hits[index]) + (data.mode === "random" ? " visits" : " states") : ""));
  panel.append(status);
  if (place[3]) panel.append(make("blockquote", "", place[3]));
  const list = make("ul");
  for (const one of waysAt.get(index) || []) {
    const way = data.ways[one], item = make("li");
    item.append(make("span", "dot " + shade(view.way_status[one])), make("strong", "", way[2] || way[1]), " → ");
    const go = make("button", "link", data.places[way[3]][1]);
    go.onclick = () => { show(way[3]); near(way[3]); };
    item.append(go, make("div", "dim", names[view.way_status[one]] + " · offered " + count(view.offered[one]) + ", taken " + count(view.taken[one])));
    list.append(item);
  }
  panel.append(list);
}
function route(path) {
  paint();
  if (!path || !path.route) return;
  svg.classList.add("path");
  for (const index of path.route[0]) nodeOf.get(index)?.classList.add("on");
  for (const index of path.route[1]) edgeOf.get(index)?.classList.add("on");
  const met = path.route[0].map((index) => nodeOf.get(index)).filter(Boolean);
  if (met.length) {
    const back = scene.getCTM().inverse();
    const spots = met.map((one) => back.multiply(one.getCTM()));
    const xs = spots.map((one) => one.e), ys = spots.map((one) => one.f);
    const left = Math.min(...xs) - 60, top = Math.min(...ys) - 60;
    fit({x: left, y: top, w: Math.max(...xs) + 230 - left, h: Math.max(...ys) + 110 - top});
  }
  svg.scrollIntoView({block: "center", behavior: "smooth"});
}

// ---- tables --------------------------------------------------------------------------------------------------------
const PAGE = 200;
function table(id, columns, rows) {
  const home = $(id);
  if (!home) return;
  let filter = "", column = -1, way = 1, shown = PAGE, wrong = false;
  const bar = make("div", "tools"), input = make("input"), odd = make("button", "", "only what is odd"), body = make("tbody");
  input.placeholder = "filter " + rows.length.toLocaleString("en") + " rows…"; input.type = "search"; input.setAttribute("aria-label", "filter");
  const grid = make("table"), head = make("tr"), more = make("button", "more", "");
  columns.forEach((one, index) => {
    const cell = make("th", one.num ? "num" : "", one.name);
    cell.onclick = () => { way = column === index ? -way : 1; column = index; [...head.children].forEach((other) => delete other.dataset.way); cell.dataset.way = way; draw(); };
    head.append(cell);
  });
  const top = make("thead"); top.append(head); grid.append(top, body);
  odd.setAttribute("aria-pressed", "false");
  odd.onclick = () => { wrong = !wrong; odd.setAttribute("aria-pressed", String(wrong)); draw(); };
  input.oninput = () => { filter = input.value.toLowerCase(); shown = PAGE; draw(); };
  more.onclick = () => { shown += PAGE * 5; draw(); };
  bar.append(input); if (rows.some((row) => row.status)) bar.append(odd);
  function draw() {
    let found = rows.filter((row) => (!filter || row.find.includes(filter)) && (!wrong || !good.has(row.status)));
    if (column >= 0) found = [...found].sort((a, b) => {
      const x = columns[column].value(a), y = columns[column].value(b);
      return way * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y)));
    });
    body.replaceChildren(...found.slice(0, shown).map((row) => {
      const line = make("tr");
      for (const one of columns) {
        const cell = make("td", (one.num ? "num " : "") + (one.mono ? "mono" : ""));
        if (one.cell) cell.append(one.cell(row)); else { const value = one.value(row); cell.textContent = typeof value === "number" ? count(value) : value; }
        line.append(cell);
      }
      return line;
    }));
    more.textContent = found.length > shown ? "show more of " + count(found.length) : "";
    more.hidden = found.length <= shown;
  }
  draw(); home.replaceChildren(bar, grid, more);
}
const pill = (status) => make("span", "s " + shade(status), names[status] || status);
const goto = (index, text) => { const one = make("button", "link", text); one.onclick = () => { show(index); near(index); svg.scrollIntoView({block: "center", behavior: "smooth"}); }; return one; };
function steps(path) {
  const list = make("ol", "steps");
  for (const one of path.choices || []) {
    const item = make("li", one.by === "dice" ? "dice" : ""); item.title = one.scene + "/" + one.node;
    item.append(make("b", "", one.by === "dice" ? "⚄" : "›"), one.label || one.choice); list.append(item);
  }
  return list;
}
function proof(path) {
  const home = make("div");
  if (!path) return home;
  const line = make("div", "dim", (path.steps === null ? "" : count(path.steps) + " steps · ") + count(path.words) + " words · " + path.minutes + " min"
    + (path.seed !== null && path.seed !== undefined ? " · seed " + path.seed : path.draws ? " · no seed found for these dice" : ""));
  home.append(line);
  if (path.choices) home.append(steps(path));
  if (path.route) { const one = make("button", "link", "show in the graph"); one.onclick = () => route(path); home.append(one); }
  return home;
}
function tables() {
  const view = data.views[current];
  table("endings", [
    {name: "ending", value: (row) => row.node, cell: (row) => goto(row.index, row.node)}, {name: "scene", value: (row) => row.scene},
    {name: "kind", value: (row) => row.kind, cell: (row) => pill(row.kind)}, {name: data.mode === "random" ? "plays" : "states", num: 1, value: (row) => row.hits},
    {name: "steps", num: 1, value: (row) => row.path ? row.path.steps : -1}, {name: view.complete ? "a shortest way" : "a way", value: (row) => row.path ? row.path.words : 0, cell: (row) => proof(row.path)},
  ], view.endings.map((one) => ({...one, index: placeOf.get(one.scene + "\u0000" + one.node), find: (one.scene + " " + one.node + " " + one.text).toLowerCase()})));
  table("nodes", [
    {name: "scene", value: (row) => row.scene}, {name: "node", value: (row) => row.node, cell: (row) => goto(row.index, row.node)},
    {name: "status", value: (row) => names[row.status], cell: (row) => pill(row.status)}, {name: "hits", num: 1, value: (row) => row.hits}, {name: "words", num: 1, value: (row) => row.words},
  ], data.places.map((one, index) => ({index, scene: one[0], node: one[1], status: view.node_status[index], hits: view.hits[index], words: one[4], find: (one[0] + " " + one[1] + " " + one[3]).toLowerCase()})));
  table("choices", [
    {name: "node", value: (row) => row.node, cell: (row) => goto(row.index, row.node)}, {name: "choice", value: (row) => row.choice},
    {name: "status", value: (row) => names[row.status], cell: (row) => pill(row.status)}, {name: "offered", num: 1, value: (row) => row.offered}, {name: "taken", num: 1, value: (row) => row.taken},
  ], data.ways.map((one, index) => ({index: one[0], node: data.places[one[0]][0] + "/" + data.places[one[0]][1], choice: one[2] ? one[2] + " (" + one[1] + ")" : one[1], status: view.way_status[index], offered: view.offered[index], taken: view.taken[index],
    find: (data.places[one[0]].slice(0, 2).join(" ") + " " + one[1] + " " + one[2]).toLowerCase()})));
  table("conditions", [
    {name: "condition", mono: 1, value: (row) => row.rule}, {name: "where", value: (row) => row.where}, {name: "status", value: (row) => names[row.status], cell: (row) => pill(row.status)},
    {name: "true", num: 1, value: (row) => row.yes}, {name: "false", num: 1, value: (row) => row.no}, {name: "missing", num: 1, value: (row) => row.missing},
  ], data.rules.map((one, index) => ({rule: one[1], where: one[0], status: view.rules[index][3], yes: view.rules[index][0], no: view.rules[index][1], missing: view.rules[index][2], find: (one[0] + " " + one[1]).toLowerCase()})));
  table("variables", [
    {name: "variable", mono: 1, value: (row) => row.key}, {name: "status", value: (row) => names[row.status], cell: (row) => pill(row.status)},
    {name: "declared", value: (row) => row.declared ? "yes" : ""}, {name: "asked for", num: 1, value: (row) => row.reads}, {name: "set", num: 1, value: (row) => row.writes},
  ], data.variables.map((one) => ({...one, find: one.key.toLowerCase()})));
}
function findings() {
  const home = $("findings"), pov = data.views[current].pov;
  const shown = data.findings.filter((one) => !one.pov || one.pov === pov);
  home.replaceChildren(...shown.map((one) => {
    const item = make("li"), what = make("div", "what", one.message);
    item.append(make("span", "dot " + one.severity), what, make("span", "kind", one.kind.replaceAll("_", " ")));
    const index = one.node === undefined ? undefined : placeOf.get(one.scene + "\u0000" + one.node);
    if (one.path && one.path.route) { const go = make("button", "link", "show the way"); go.onclick = () => route(one.path); what.append(" ", go); }
    else if (index !== undefined) what.append(" ", goto(index, "show"));
    return item;
  }));
  if (!shown.length) home.append(make("li", "dim", "Nothing: every node, choice and side of a condition was met, and every play ends."));
  $("found").textContent = ["error", "warning", "note"].map((one) => [shown.filter((other) => other.severity === one).length, one]).filter(([many]) => many).map(([many, one]) => count(many) + " " + one + (many > 1 ? "s" : "")).join(", ");
}
function tiles() {
  const view = data.views[current], home = $("tiles");
  const tile = (name, big, of, note, share) => {
    const one = make("div", "tile"), number = make("div", "big", big);
    if (of) number.append(" ", make("i", "", of));
    one.append(make("div", "name", name), number);
    if (share !== undefined) { const bar = make("meter"); bar.min = 0; bar.max = 1; bar.low = 0.6; bar.high = 0.85; bar.optimum = 1; bar.value = share; one.append(bar); }
    if (note) one.append(make("div", "note", note));
    return one;
  };
  const part = (one) => one.total ? one.met / one.total : 1, percent = (one) => one.total ? Math.floor(100 * one.met / one.total) + " %" : "none";
  const c = view.coverage, l = view.lengths;
  const span = l.shortest && l.longest ? l.shortest.minutes + "–" + l.longest.minutes : "–";
  home.replaceChildren(
    tile("nodes met", percent(c.nodes), count(c.nodes.met) + " of " + count(c.nodes.total), "", part(c.nodes)),
    tile("choices taken", percent(c.choices), count(c.choices.met) + " of " + count(c.choices.total), "", part(c.choices)),
    tile("sides of conditions", percent(c.sides), count(c.sides.met) + " of " + count(c.sides.total), "", part(c.sides)),
    tile("endings", count(view.endings.length), "", view.endings.filter((one) => one.kind === "stuck" || one.kind === "hidden").length ? "some of them are dead ends" : ""),
    tile("minutes to read", span, "", l.shortest ? count(l.shortest.words) + "–" + count(l.longest.words) + " words" + (l.loops ? ", and loops that can go on" : "") : ""),
    data.mode === "random" ? tile("plays", count(view.plays), count(view.finished) + " ended", count(view.steps) + " steps")
      : tile("states", count(view.states), "", count(view.transitions) + " steps, " + count(view.variables_in_state) + " variables that matter"));
  $("bound").textContent = view.complete === false && view.bounds_reached.length
    ? "Bound reached: " + view.bounds_reached.join(", ") + ". " + (view.frontier ? count(view.frontier) + " states were not followed to the end; what was not met may still be there." : "") : "";
}
function comparison() {
  const home = $("comparison");
  if (!home || !data.comparison) return;
  const view = data.comparison.views.find((one) => one.pov === data.views[current].pov);
  home.replaceChildren();
  if (!view) { home.append(make("p", "dim", "This point of view is only in one of the two.")); return; }
  for (const [kind, title, cls] of [["appeared", "appeared", "met"], ["vanished", "vanished", "bad"], ["moved", "moved", "end"]])
    for (const one of view.endings[kind]) {
      const item = make("li"), what = make("div", "what", one.scene + "/" + one.node + " ");
      what.append(make("div", "dim", one.why)); if (one.steps) what.append(make("div", "dim", "steps " + one.steps.before + " → " + one.steps.after + ", words " + one.words.before + " → " + one.words.after));
      item.append(make("span", "s " + cls, title), what); home.append(item);
    }
  const quiet = [["nodes no longer reached", view.nodes_no_longer_reached], ["nodes newly reached", view.nodes_newly_reached], ["choices no longer offered", view.choices_no_longer_offered], ["choices newly offered", view.choices_newly_offered]];
  for (const [name, rows] of quiet) if (rows.length) {
    const item = make("li"); item.append(make("span", "s", count(rows.length)), make("div", "what", name + ": " + rows.slice(0, 12).map((one) => one.scene + "/" + one.node + (one.choice ? " " + one.choice : "")).join(", ") + (rows.length > 12 ? " …" : ""))); home.append(item);
  }
  if (!home.children.length) home.append(make("li", "dim", "The same endings by the same ways, and the same coverage."));
}
function choose(index) {
  current = index;
  [...$("povs").children].forEach((one, place) => one.setAttribute("aria-pressed", String(place === index)));
  paint(); tiles(); findings(); tables(); comparison();
}
data.views.forEach((view, index) => {
  const one = make("button", "", view.pov + (view.playable ? "" : " (cannot begin)")); one.onclick = () => choose(index); $("povs").append(one);
});
const find = $("find");
find.oninput = () => {
  const text = find.value.toLowerCase();
  if (!text) { paint(); return; }
  const index = data.places.findIndex((one) => (one[1] + " " + one[0]).toLowerCase().includes(text));
  if (index >= 0) { show(index); near(index); }
};
fit(full); choose(0);
window.addEventListener("resize", () => fit(box));
})();
