// Workloads, migrations, observed decisions and incidents.

import { ago, bytes, duration, isTime, probability } from "./format.js";
import { el, fill } from "./dom.js";

const stateTone = { running: "good", starting: "warn", moving: "warn", frozen: "warn", failed: "bad", stopped: "soft" };

export function showWorkloads(list, now) {
  if (!list.length) {
    fill("workloads", el("p", { class: "empty" }, "No workloads are declared. A [[workload]] in forestall.toml adds one."));
    return;
  }
  const heads = ["Workload", "State", "Node", "GPUs", "Epoch", "Last checkpoint", "Size", "Risk of the job", "Restarts", ""];
  const all = list.filter((w) => w.state !== "stopped"), stopped = list.length - all.length;
  const right = new Set(["Epoch", "Size", "Risk of the job", "Restarts"]);
  const table = el("table", {},
    el("thead", {}, el("tr", {}, heads.map((h) => el("th", { scope: "col", class: right.has(h) && "num" }, h)))),
    el("tbody", {}, all.map((w) => el("tr", {},
      el("td", {}, el("b", {}, w.name), el("span", { class: "soft" }, " " + w.kind)),
      el("td", { class: stateTone[w.state] }, w.state),
      el("td", {}, w.node || "none"),
      el("td", {}, (w.gpus ?? []).join(", ") || "none"),
      el("td", { class: "num" }, String(w.epoch)),
      el("td", { class: w.head ? null : "warn" }, w.head ? ago(now, w.head.time) : "none yet"),
      el("td", { class: "num" }, w.head ? bytes(w.head.size_bytes) : ""),
      el("td", { class: "num" }, el("span", { class: `tag ${w.risk.grade}`, title: w.risk.note }, probability(w.risk.probability, w.risk.grade))),
      el("td", { class: "num" }, String(w.restarts)),
      el("td", { class: "text" }, w.note || "")))));
  fill("workloads", all.length > 0 && table, stopped > 0 && el("p", { class: "soft" }, `Finished or retired, not shown: ${stopped}. forestall workloads --all`));
}

const order = ["proposed", "saved", "granted", "fenced", "stopped", "done"];

export function showMigrations(all, now) {
  if (!all.length) {
    fill("migrations", el("p", { class: "empty" }, "Nothing has been moved or recovered yet."));
    return;
  }
  fill("migrations", all.slice(0, 8).map((m) => migration(m, now)));
}

// what says what a decision does, to which work, between which nodes.
function what(d) {
  const verb = { migrate: "Move", recover: "Recover", start: "Start", drain: "Drain", warm: "Warm a standby of", checkpoint: "Checkpoint" }[d.action] ?? d.action;
  const way = d.from && d.to && d.from !== d.to ? `${d.from} → ${d.to}` : d.to ? `on ${d.to}` : d.from ? `${d.action === "checkpoint" ? "on" : "from"} ${d.from}` : "";
  return `${verb} ${d.workload || d.component} ${way}`;
}

// why gives a decision's reasons, its price, and what else there is to say.
function why(d, ...more) {
  const price = d.price.saves_gpu_s || d.price.costs_gpu_s
    ? `worth ${Math.round(d.price.saves_gpu_s)} GPU-s, costs ${Math.round(d.price.costs_gpu_s)}` : "";
  return el("span", { class: "why" }, [(d.reasons ?? []).join("; "), price, ...more].filter(Boolean).join(" · "));
}

// showObserved lists what predictions would have had done where they may not act.
export function showObserved(all, mode, now) {
  const tiers = Object.keys(mode).filter((tier) => mode[tier] === "observe");
  document.getElementById("observed-section").hidden = !all.length && !tiers.length;
  if (!all.length) {
    fill("observed", el("p", { class: "empty" }, `Nothing so far. Predictions may not ${tiers.join(" or ")} on their own; what they would have done will stand here, with its reasons and price.`));
    return;
  }
  fill("observed", all.slice(0, 8).map((d) => el("div", { class: "move" },
    el("div", { class: "line" }, el("b", {}, what(d)), el("span", {}, ago(now, d.time))),
    el("p", {}, why(d)))));
}

function migration(m, now) {
  const begin = Date.parse(m.at?.proposed ?? m.time), end = m.at?.[m.phase];
  const final = m.phase === "done" || m.phase === "aborted";
  const took = final && end ? `took ${duration((Date.parse(end) - begin) / 1000)}` : "";
  const pause = m.pause_ns > 0 ? `paused ${duration(m.pause_ns / 1e9)}` : "";
  return el("div", { class: "move" },
    el("div", { class: "line" }, el("b", {}, what(m)), el("span", {}, ago(now, m.time))),
    phases(m),
    el("p", {}, m.note ? el("span", { class: m.phase === "aborted" ? "bad" : "warn" }, m.note + ". ") : null,
      why(m, pause, took)));
}

// phases shows how far it has come. A recovery skips what does not apply.
function phases(m) {
  const at = m.phase === "aborted" ? order.filter((p) => m.at?.[p]).length - 1 : order.indexOf(m.phase);
  const shown = order.filter((p, i) => i > at || m.at?.[p] || p === m.phase);
  const items = shown.map((p) => {
    const i = order.indexOf(p), now = i === at && m.phase !== "done" && m.phase !== "aborted";
    const tone = now ? "now" : i <= at ? "past" : null;
    return el("li", { class: tone, "aria-current": now && "step" }, p);
  });
  if (m.phase === "aborted") return el("ol", { class: "phases" }, items.slice(0, at + 1), el("li", { class: "aborted" }, "aborted"));
  return el("ol", { class: "phases", "aria-label": `phase ${m.phase}` }, items);
}

// showIncidents lists failures, and the moments at which work moved, newest first.
export function showIncidents(incidents, migrations, now) {
  const list = [
    ...incidents.map((i) => ({
      time: i.start, title: `${i.component} ${i.kind.replaceAll("_", " ")}`,
      state: isTime(i.end) ? `over after ${duration((Date.parse(i.end) - Date.parse(i.start)) / 1000)}` : "open", open: !isTime(i.end), text: (i.evidence ?? []).join("; "),
    })),
    ...migrations.filter((m) => m.phase === "done" || m.phase === "aborted").map((m) => ({
      time: m.at?.[m.phase] ?? m.time, title: `${m.workload ?? m.component} ${m.phase === "done" ? "runs on " + (m.to || "?") : "stays: " + m.action + " aborted"}`,
      state: m.epoch ? `epoch ${m.epoch}` : "", text: "",
    })),
  ].sort((a, b) => Date.parse(b.time) - Date.parse(a.time)).slice(0, 12);
  if (!list.length) {
    fill("incidents", el("p", { class: "empty" }, "No incidents: nothing has failed."));
    return;
  }
  fill("incidents", list.map((i) => el("div", { class: "incident" },
    el("div", { class: "line" }, el("b", {}, i.title), el("span", {}, i.state ? el("span", { class: i.open ? "bad" : null }, i.state + " · ") : null, ago(now, i.time))),
    i.text ? el("p", { class: "why" }, i.text) : null)));
}
