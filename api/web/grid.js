// The risk by GPU: a row per node, a cell per GPU, the reasons of the selected
// component beside them.

import { ago, duration, isTime, probability } from "./format.js";
import { el, fill, spark } from "./dom.js";

const grades = ["failing", "suspect", "unknown", "healthy"];
const shown = ["failed", ...grades];
const points = 120; // of a full history
const history = new Map();
let step = 5, lastStep = 0, selected = null, chosen = false, risks = new Map(), failed = new Set(), runsOn = new Map(), detailFor = "", detailOf = null;

export function setHistory({ step_seconds, series }) {
  step = step_seconds;
  lastStep = Date.now();
  history.clear();
  for (const [component, s] of Object.entries(series)) history.set(component, s ?? []);
}

// remember adds a point per step, so that the lines go on while the page is open.
export function remember() {
  if (Date.now() - lastStep < 1000 * step) return false;
  lastStep = Date.now();
  for (const [c, r] of risks) {
    const s = history.get(c) ?? [];
    s.push(r.probability);
    history.set(c, s.slice(-points));
  }
  return true;
}

export function showRisks(snapshot, now) {
  risks = new Map(snapshot.risks.map((r) => [r.component, r]));
  failed = new Set(snapshot.incidents.filter((i) => !isTime(i.end) && i.kind !== "network_partition").map((i) => i.component));
  runsOn = occupants(snapshot.workloads);
  if (!chosen || !risks.has(selected)) selected = worst();
  legend();
  const focused = document.activeElement?.dataset?.component;
  fill("grid", nodes(snapshot).map((n) => nodeRow(n, now)));
  if (focused) document.querySelector(`[data-component="${CSS.escape(focused)}"]`)?.focus();
  showDetail(now);
}

// occupants tells which workloads sit on a GPU or a node.
function occupants(workloads) {
  const found = new Map();
  for (const w of workloads) {
    for (const c of [`node/${w.node}`, ...(w.gpus ?? []).map((i) => `gpu/${w.node}/${i}`)]) found.set(c, [...(found.get(c) ?? []), w.name]);
  }
  return found;
}

// worst is what to look at first, so that the reasons of a failing GPU are
// visible without a click.
function worst() {
  let found = null;
  for (const r of risks.values()) {
    if (r.component.startsWith("agent/") || r.component.startsWith("service/")) continue;
    const key = (x) => 10 * (grades.length - grades.indexOf(x.grade)) + (x.probability ?? 0);
    if (!found || key(r) > key(found)) found = r;
  }
  return found?.component ?? null;
}

function legend() {
  const count = Object.fromEntries(shown.map((g) => [g, 0]));
  for (const r of risks.values()) count[stateOf(r)]++;
  const marks = shown.map((g) => [g, count[g]]), odd = [...risks.values()].filter(isUnusual).length;
  if (odd) marks.push(["unusual", odd]); // whatever their grade
  fill("legend", marks.map(([mark, n]) => el("span", {}, el("i", { class: `key ${mark}` }), `${n} ${mark}`)));
}

function isUnusual(r) { return Boolean(r.unusual || r.unlike); }

// stateOf is the grade, or that a component has failed already: of that nothing is left
// to predict, but it is no component that cannot be seen.
function stateOf(r) { return r.grade === "unknown" && failed.has(r.component) ? "failed" : r.grade; }

// nodes gathers members and components: a node that left keeps its row as long
// as something is known of it.
function nodes({ members, risks }) {
  const found = new Map(members.map((m) => [m.name, { name: m.name, member: m, gpus: [], risk: null }]));
  const node = (name) => {
    if (!found.has(name)) found.set(name, { name, member: null, gpus: [], risk: null });
    return found.get(name);
  };
  for (const r of risks) {
    const [kind, name] = r.component.split("/");
    if (kind === "gpu") node(name).gpus.push(r);
    if (kind === "node") node(name).risk = r;
  }
  return [...found.values()];
}

function nodeRow(n, now) {
  const m = n.member, state = m ? m.state || "unknown" : "not a member";
  const role = m?.leader ? "leader" : m?.voter ? "voter" : m ? "member" : "";
  const tone = { alive: "good", suspect: "warn", failed: "bad" }[state] ?? "soft";
  const seen = m && state !== "alive" && m.last_seen_ns ? `, ${duration(m.last_seen_ns / 1e9)}` : "";
  const cells = [...(n.risk ? [cell(n.risk, "node")] : []), ...n.gpus.map((r) => cell(r, "GPU " + r.component.split("/")[2]))];
  return el("div", { class: "node" },
    el("div", {}, el("h3", { title: n.name }, n.name), el("p", {}, el("span", { class: tone }, state + seen), role ? ` · ${role}` : "")),
    el("div", { class: "cells" }, cells.length ? cells : el("p", { class: "empty" }, "nothing heard of its components yet")));
}

function cell(r, label) {
  const state = stateOf(r), text = state === "failed" ? state : probability(r.probability, r.grade);
  const strange = [r.unusual && "unusual for itself: " + r.unusual.join("; "), r.unlike && "unlike its model's training: " + r.unlike.join("; ")].filter(Boolean).join("; ");
  const why = [r.note || (r.reasons ?? []).join("; "), strange].filter(Boolean).join("; ");
  const b = el("button", {
    type: "button", class: `cell ${state}${isUnusual(r) ? " unusual" : ""}`, "data-component": r.component, "aria-pressed": String(r.component === selected),
    "aria-label": `${r.component}: ${state}, ${text}${why ? ". " + why : ""}`, title: why ? `${r.component}\n${why}` : r.component,
  }, el("small", {}, label), el("b", {}, text === "unknown" ? "?" : text), spark(history.get(r.component) ?? [], points));
  b.onclick = () => choose(r.component);
  b.onkeydown = move;
  return b;
}

function choose(component) {
  chosen = true;
  selected = component;
  for (const b of document.querySelectorAll(".cell")) b.setAttribute("aria-pressed", String(b.dataset.component === component));
  showDetail(Date.now());
}

// move lets the arrow keys walk through the cells.
function move(e) {
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 9, ArrowUp: -9 }[e.key];
  if (!by) return;
  const all = [...document.querySelectorAll(".cell")], here = all.indexOf(e.currentTarget);
  let to;
  if (Math.abs(by) === 1) {
    to = all[here + by];
  } else { // the nearest cell in the next row on screen
    const at = e.currentTarget.getBoundingClientRect(), down = by > 0;
    to = all.map((c) => [c, c.getBoundingClientRect()])
      .filter(([, b]) => (down ? b.top >= at.bottom - 1 : b.bottom <= at.top + 1))
      .sort(([, a], [, b]) => Math.abs(a.top - at.top) * 3 + Math.abs(a.left - at.left) - Math.abs(b.top - at.top) * 3 - Math.abs(b.left - at.left))[0]?.[0];
  }
  if (to) { e.preventDefault(); to.focus(); }
}

async function showDetail(now) {
  const r = risks.get(selected);
  if (!r) {
    fill("detail", el("p", { class: "empty" }, "No component has been judged yet."));
    return;
  }
  const runs = runsOn.get(selected) ?? [];
  const key = JSON.stringify([r, runs, stateOf(r)]) + (history.get(selected)?.length ?? 0);
  if (key === detailFor) return;
  detailFor = key;
  const series = history.get(selected) ?? [];
  const line = [spark(series, points), el("p", { class: "soft" }, `last ${duration(step * points)}`)];
  const head = [el("h3", {}, r.component, runs.length ? el("span", { class: "soft" }, ` runs ${runs.join(", ")}`) : null), el("p", { class: "figure" }, stateOf(r) === "failed" ? "failed" : probability(r.probability, r.grade))];
  if (r.grade === "unknown") {
    fill("detail", head, el("p", {}, r.note || "it could not be judged"), unusual(r.unusual), unlike(r.unlike), line);
    return;
  }
  if (detailOf !== selected) fill("detail", head, line); // the reasons follow
  detailOf = selected;
  let full;
  try {
    const answer = await fetch(location.origin + "/v1/risk/" + r.component);
    if (!answer.ok) throw new Error(answer.statusText);
    full = await answer.json();
  } catch {
    detailFor = "";
    return; // the banner says that the engine does not answer
  }
  if (full.component !== selected) return;
  const most = Math.max(1, ...(full.reasons ?? []).map((x) => Math.abs(x.contribution)));
  fill("detail", head,
    el("p", {}, el("span", { class: `tag ${full.grade}` }, full.grade), ` within ${duration(full.horizon_seconds)}`),
    el("p", { class: "soft" }, `model ${full.model || "none"}, seen ${ago(now, full.time)}`),
    unusual(strange(full.anomaly)), soft(learning(full.anomaly)), unlike(strange(full.unlike)),
    line, el("ol", {}, (full.reasons ?? []).slice(0, 6).map((x) => reason(x, most))));
}

// unusual says what of a component is unlike its own past, unlike what is unlike
// the training of its model.
function unusual(reasons) { return tagged("unusual for itself", reasons); }

function unlike(reasons) { return tagged("unlike its model's training", reasons); }

function tagged(how, reasons) {
  return reasons ? el("p", {}, el("span", { class: "tag unusual" }, how), " " + reasons.join("; ")) : null;
}

function strange(anomaly) { return anomaly?.state === "unusual" ? anomaly.reasons ?? [] : null; }

function learning(anomaly) { return anomaly?.state === "unknown" ? anomaly.note : ""; }

function soft(text) { return text ? el("p", { class: "soft" }, text) : null; }

function reason(x, most) {
  const bar = el("i", { class: x.contribution >= 0 ? "up" : "down" });
  bar.style.width = `${(50 * Math.abs(x.contribution)) / most}%`;
  const sign = x.contribution >= 0 ? "raises" : "lowers";
  return el("li", {}, el("div", { class: "bar", role: "img", "aria-label": `${sign} the risk by ${Math.abs(x.contribution).toFixed(2)} log-odds` }, bar),
    el("span", { title: `${x.feature}: ${x.contribution >= 0 ? "+" : ""}${x.contribution.toFixed(2)} log-odds` }, x.text || x.feature));
}
