// The page of one engine: it shows the whole cluster as that engine knows it.

import { clock, duration, isTime } from "./format.js";
import { el, fill } from "./dom.js";
import { connect } from "./stream.js";
import { remember, setHistory, showRisks } from "./grid.js";
import { showIncidents, showMigrations, showObserved, showWorkloads } from "./work.js";

let snapshot = null;
let skew = 0; // engine's clock minus the browser's, ms

function show() {
  if (!snapshot) return;
  const now = Date.now() + skew;
  showFacts(snapshot, now);
  showRisks(snapshot, now);
  showWorkloads(snapshot.workloads, now);
  showMigrations(snapshot.migrations, now);
  showObserved(snapshot.observed, snapshot.status.mode, now);
  showIncidents(snapshot.incidents, snapshot.migrations, now);
}

function fact(name, value, tone) {
  return el("div", {}, el("dt", {}, name), el("dd", { class: tone }, value));
}

// fleetText is the share of nodes and GPUs that is expected to work through the
// horizon, and where it goes.
function fleetText(fleet) {
  if (fleet.health === null) return "not known";
  const trend = fleet.trend === "better" || fleet.trend === "worse" ? `, ${fleet.trend}` : "";
  return `${Number((100 * fleet.health).toPrecision(4))} % good${trend}`;
}

function showFacts(s, now) {
  const st = s.status;
  const alive = s.members.filter((m) => m.state === "alive").length;
  const acting = Object.entries(st.mode).filter(([, mode]) => mode === "act").map(([tier]) => tier);
  document.title = `${st.node} · Forestall`;
  fill("facts",
    fact("This engine", st.node),
    fact("Leader", st.leader || "none", st.leader ? null : "bad"),
    fact("Quorum", st.quorum ? "yes" : "NO", st.quorum ? "good" : "bad"),
    fact("Members alive", `${alive} of ${s.members.length}`, alive < s.members.length ? "warn" : null),
    fact("Fleet", fleetText(st.fleet), st.fleet.failed || st.fleet.trend === "worse" ? "warn" : null),
    fact("Replicas", `${st.effective_replication} of ${st.replication_factor}`, st.effective_replication < st.replication_factor ? "warn" : null),
    fact("Acts on its own", acting.length ? acting.join(", ") : "observes only"),
    isTime(st.started) && fact("Up", duration((now - Date.parse(st.started)) / 1000)),
    fact("Version", st.version));
  fill("notes",
    !st.quorum || !st.leader ? el("p", { class: "bad-note" }, "This side of the cluster can decide nothing: nothing is moved or recovered until a quorum of voters meets.") : null,
    !s.ready ? el("p", { class: "bad-note" }, "The engine is not ready: " + s.not_ready) : null,
    (st.notes ?? []).map((n) => el("p", {}, n)));
}

function showConnection({ live, since, everHeard }) {
  const banner = document.getElementById("banner"), status = document.getElementById("live");
  banner.hidden = live;
  for (const id of ["main", "facts", "notes"]) document.getElementById(id).classList.toggle("stale", !live);
  status.classList.toggle("on", live);
  const text = live ? "live" : "disconnected";
  if (status.textContent !== text) status.textContent = text;
  if (live) return;
  const told = everHeard
    ? `Disconnected since ${clock(since)}. What you see is what was known then. Trying again.`
    : `The engine at ${location.host} does not answer. Trying again since ${clock(since)}.`;
  if (banner.textContent !== told) banner.textContent = told;
}

function chooseTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const apply = () => { document.documentElement.dataset.theme = stored() ?? (dark.matches ? "dark" : "light"); };
  dark.addEventListener("change", apply);
  document.getElementById("theme").onclick = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", next); } catch { /* private window */ }
    document.documentElement.dataset.theme = next;
  };
  apply();
}

chooseTheme();
connect({
  onHistory: setHistory,
  onSnapshot(next, time) {
    skew = time - Date.now();
    if (next) snapshot = next;
    remember();
    if (next) show();
  },
  onState: showConnection,
});
setInterval(() => { remember(); if (document.getElementById("live").classList.contains("on")) show(); }, 5000);
