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

// A click on a level leaves the rows and the trials that have it, everywhere; a second one brings all back.
const only = document.getElementById("filter");
let chosen = "";
function filter(axis, level) {
  const name = axis && `${axis}\n${level}`;
  chosen = name === chosen ? "" : name;
  const isOut = own => Boolean(chosen) && own !== undefined && own !== level;
  for (const row of document.querySelectorAll("tbody tr")) {
    row.classList.toggle("out", [...row.cells].some(cell => cell.dataset.axis === axis && isOut(cell.dataset.level)));
  }
  for (const part of document.querySelectorAll("details[data-levels]")) {
    part.classList.toggle("out", isOut(JSON.parse(part.dataset.levels)[axis]));
  }
  only.hidden = !chosen;
  only.querySelector("b").textContent = `${axis}: ${level}`;
}
document.addEventListener("click", event => {
  const cell = event.target.closest("button.level")?.closest("td");
  if (cell) filter(cell.dataset.axis, cell.dataset.level);
});
only.querySelector("button").addEventListener("click", () => filter("", ""));

// What lies under the pointer of a figure: [x, y, text], places in thousandths of its width and height.
const NEAR = 22; // px
function tip(event) {
  const image = event.currentTarget, box = image.getBoundingClientRect();
  image.parentNode.querySelector(".tip")?.remove();
  if (event.type === "pointerleave") return;
  let best = null, least = NEAR * NEAR;
  image.points ??= JSON.parse(image.dataset.points);
  for (const point of image.points) {
    const x = point[0] / 1000 * box.width, y = point[1] / 1000 * box.height;
    const far = (x - event.clientX + box.left) ** 2 + (y - event.clientY + box.top) ** 2;
    if (far < least) [best, least] = [{ x, y, text: point[2] }, far];
  }
  if (!best) return;
  const mark = Object.assign(document.createElement("div"), { className: "tip", textContent: best.text });
  mark.style.left = `${best.x}px`;
  mark.style.top = `${best.y}px`;
  image.parentNode.append(mark);
}
for (const image of document.querySelectorAll("img[data-points]")) {
  for (const kind of ["pointermove", "pointerdown", "pointerleave"]) image.addEventListener(kind, tip);
}

// A click on one of the figures that stand beside each other makes it as wide as the page.
for (const image of document.querySelectorAll(".beside img")) {
  image.addEventListener("click", () => image.closest("figure").classList.toggle("large"));
}

// A link to a part opens it and what it lies in, also a second time.
function open(hash) {
  const part = document.getElementById(decodeURIComponent(hash.slice(1)));
  if (!part) return;
  for (let each = part; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  part.scrollIntoView();
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
