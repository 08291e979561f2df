// Building elements. Text is always text: nothing from the engine is parsed as
// HTML.

export function el(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}

export function fill(id, ...children) {
  document.getElementById(id).replaceChildren(...children.flat().filter(Boolean));
}

const svgNS = "http://www.w3.org/2000/svg";

// spark draws probabilities, oldest first, with a gap where one is null. The
// square root keeps small risks visible.
export function spark(series, length) {
  const svg = document.createElementNS(svgNS, "svg");
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(svgNS, "path");
  let d = "", pen = "M";
  series.forEach((p, i) => {
    if (p === null) { pen = "M"; return; }
    const x = 100 * (length - series.length + i) / (length - 1);
    d += `${pen}${x.toFixed(1)} ${(28 - 26 * Math.sqrt(p)).toFixed(1)}`;
    pen = "L";
  });
  path.setAttribute("d", d);
  svg.append(path);
  return svg;
}
