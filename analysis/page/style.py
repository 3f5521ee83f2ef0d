"""The look of the page, and the few lines that sort its tables and open its parts. Text only, inside the page."""

CSS = """
:root { color-scheme: light dark; --ink: #1c1f23; --soft: #59616b; --paper: #ffffff; --line: #d9dde2; --band: #f4f6f8;
  --accent: #0b5cad; --good: #0173b2; --bad: #c44e00; --second: #a5620a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --soft: #a3abb5; --paper: #15181c; --line: #343a42; --band: #1e2329; --accent: #7db7f5;
    --good: #56b4e9; --bad: #f28a4b; --second: #de8f05; }
  figure img { filter: brightness(.88); }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 3.2rem; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
a { color: var(--accent); }
main { margin: 0 auto; max-width: 72rem; padding: .6rem 1rem 4rem; min-width: 0; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .6rem 0; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
p, ul { max-width: 46rem; }
li { margin: .3rem 0; }
.question { font-size: 1.15rem; margin: .4rem 0; }
.status { color: var(--soft); font-size: .9rem; margin: .4rem 0; }

/* The list of contents: a bar that stays above, a column beside the page where there is room. */
nav { position: sticky; top: 0; z-index: 2; background: var(--paper); border-bottom: 1px solid var(--line);
  overflow-x: auto; }
nav ol { display: flex; gap: 1.1rem; list-style: none; margin: 0; padding: .5rem 1rem; white-space: nowrap; }
nav li { margin: 0; }
nav a { text-decoration: none; font-size: .9rem; }
nav a:hover { text-decoration: underline; }
@media (min-width: 75rem) {
  html { scroll-padding-top: 1rem; }
  body { display: grid; grid-template-columns: 14rem minmax(0, 1fr); max-width: 90rem; margin: 0 auto; }
  main { width: 100%; }
  nav { align-self: start; border: 0; padding-top: 1.4rem; max-height: 100vh; overflow: auto; }
  nav ol { display: block; white-space: normal; }
  nav li { margin: .55rem 0; line-height: 1.3; }
}

/* The answer: the first section, larger, its first sentence largest. */
main > section:first-of-type > ul { list-style: none; padding: 0; font-size: 1.05rem; }
main > section:first-of-type > ul > li:first-child { font-size: 1.15rem; font-weight: 600; }
main > section:first-of-type > h2 { margin-top: 1.4rem; }

figure { margin: 1.4rem 0; }
h2 + figure { margin-top: .4rem; }
figure img { display: block; width: 100%; max-width: 44rem; height: auto; background: #fff; border-radius: 6px;
  border: 1px solid var(--line); }
figcaption { color: var(--soft); font-size: .9rem; text-align: left; padding: .4rem 0; max-width: 46rem; }
.table { overflow: auto; max-height: 75vh; width: fit-content; max-width: 100%; border: 1px solid var(--line);
  border-radius: 6px; }
table { border-collapse: separate; border-spacing: 0; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .55rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: normal; }
tr:last-child td { border-bottom: 0; }
td { max-width: 26rem; }
td.number { white-space: nowrap; }
td.number, th.number { text-align: right; }
thead th { position: sticky; top: 0; background: var(--band); vertical-align: bottom; line-height: 1.25; }
th button { all: unset; cursor: pointer; color: var(--accent); }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }

details { border: 1px solid var(--line); border-left: 4px solid var(--line); border-radius: 6px; margin: .5rem 0;
  padding: 0 .8rem; }
details details { border-left-width: 1px; }
details.completed { border-left-color: var(--good); }
:is(.diverged, .frozen, .failed, .out-of-memory, .out_of_memory) { border-left-color: var(--bad); }
summary { cursor: pointer; padding: .4rem 0; font-size: .95rem; }
details:target > summary { font-weight: 600; }
dl { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: .6rem 0; font-size: .9rem; }
dl div { max-width: 100%; }
dt { display: inline; color: var(--soft); }
dt::after { content: ": "; }
dd { display: inline; margin: 0; }
pre { white-space: pre-wrap; background: var(--band); border-radius: 6px; padding: .5rem .7rem; font-size: .8rem;
  max-height: 9rem; overflow: auto; user-select: all; }
details p { margin: .5rem 0; font-size: .9rem; }
details figure { margin: .6rem 0; }
.curve { width: calc(50% - 1rem); min-width: 15rem; max-width: 20rem; margin-right: 1rem; }
.curve path { fill: none; stroke: var(--good); stroke-width: 1.8; vector-effect: non-scaling-stroke; }
.curve .line-1 { stroke: var(--second); stroke-dasharray: 4 2; }
.curve .axis { stroke: var(--line); stroke-width: 1; }
.curve text { fill: var(--soft); font-size: 10px; }
@media (max-width: 40rem) { main { padding: .4rem .7rem 3rem; } h1 { font-size: 1.4rem; } }

@media print {
  :root { color-scheme: light; --ink: #000; --soft: #333; --paper: #fff; --line: #bbb; --band: #fff; --accent: #000;
    --good: #0173b2; --bad: #c44e00; --second: #a5620a; }
  @page { margin: 15mm; }
  @page wide { size: landscape; }
  .wide, h2:has(+ .wide) { page: wide; }
  body { display: block; font-size: 10pt; }
  nav { display: none; }
  main { max-width: none; padding: 0; }
  p, ul, details p { margin: .3rem 0; }
  figure, details figure { margin: .5rem 0; }
  h2 { margin-top: 1rem; }
  a { text-decoration: none; }
  figure img { filter: none; width: auto; max-width: 14cm; max-height: 19cm; border: 0; }
  h2 { break-inside: avoid; }
  h2, summary, .about, p:has(+ pre) { break-after: avoid; }
  figure:has(img), figure:has(svg), tr, dl div, pre { break-inside: avoid; }
  .table { max-height: none; overflow: visible; border: 0; width: auto; }
  table { font-size: 7pt; }
  th, td { padding: .1rem .2rem; overflow-wrap: anywhere; }
  td:has(a) { white-space: nowrap; }
  .curve { min-width: 0; }
  thead th { position: static; }
  pre { max-height: none; font-size: 7pt; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""

SCRIPT = """
// A click on a column's head sorts by it, a second one the other way. Cells without a value stay last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending", place = head.cellIndex;
    const key = row => row.cells[place].dataset.value ?? row.cells[place].textContent;
    const rows = [...body.rows], numbers = rows.every(row => !isNaN(key(row)));
    rows.sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = numbers ? x - y : x.localeCompare(y, undefined, { numeric: true });
      return up ? order : -order;
    });
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...rows);
  });
}

// A link to a part opens it, also a second time.
function open(hash) {
  const part = document.getElementById(decodeURIComponent(hash.slice(1)));
  if (part?.tagName === "DETAILS") { part.open = true; part.scrollIntoView(); }
}
document.addEventListener("click", event => {
  const link = event.target.closest("a[href^='#']");
  if (link) open(link.hash);
});
addEventListener("hashchange", () => open(location.hash));
open(location.hash);

// On paper everything is open.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const part of closed) part.open = true;
});
addEventListener("afterprint", () => { for (const part of closed) part.open = false; });
"""
