// Words for numbers. Unknown is never written as a number.

export function probability(p, grade) {
  if (p === null || p === undefined || grade === "unknown") return "unknown";
  const percent = 100 * p;
  if (percent > 99.9) return ">99.9 %";
  if (percent >= 10) return percent.toFixed(1) + " %";
  if (percent >= 0.01 || percent === 0) return percent.toFixed(2) + " %";
  return "<0.01 %";
}

export function duration(seconds) {
  if (!(seconds > 0)) return "0 s";
  if (seconds < 1) return (1000 * seconds).toPrecision(3).replace(/\.0+$/, "") + " ms";
  if (seconds < 10) return seconds.toFixed(seconds % 1 ? 2 : 0) + " s";
  if (seconds < 60) return Math.floor(seconds) + " s";
  if (seconds < 7200) return Math.floor(seconds / 60) + " min";
  if (seconds < 172800) return Math.floor(seconds / 3600) + " h";
  return Math.floor(seconds / 86400) + " d";
}

// isTime tells a time from Go's zero time.
export function isTime(t) { return Boolean(t) && !t.startsWith("0001-"); }

// ago writes how long before now (in ms, the engine's clock) t was.
export function ago(now, t) {
  if (!isTime(t)) return "never";
  const s = Math.floor((now - Date.parse(t)) / 1000);
  return s < 1 ? "now" : duration(s) + " ago";
}

export function clock(ms) { return new Date(ms).toLocaleTimeString([], { hour12: false }); }

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let u = 0;
  while (n >= 1023.5 && u < units.length - 1) { n /= 1024; u++; }
  return (u > 0 && n < 10 ? n.toFixed(1) : Math.round(n)) + " " + units[u];
}
