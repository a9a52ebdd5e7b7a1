"""Style sheet and script of the report's page."""

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --card: #f6f8fa; --line: #d0d7de;
  --bar: #0072b2; --link: #0550ae; --warn: #9a3b00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6edf3; --soft: #9aa5b1; --paper: #0d1117; --card: #161b22; --line: #30363d;
    --bar: #56b4e9; --link: #79b8ff; --warn: #ffb077;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1rem; max-width: 90rem; background: var(--paper); color: var(--ink);
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: anywhere;
}
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 0 0 .5rem; }
h3 { font-size: .95rem; margin: 1rem 0 .25rem; color: var(--soft); font-weight: 600; }
p { margin: .25rem 0; }
a { color: var(--link); }
.soft { color: var(--soft); font-size: .875rem; }
.warn { color: var(--warn); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; overflow-wrap: normal; }
th, td { padding: .35rem .5rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { text-align: left; font-weight: 600; white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.t { min-width: 8rem; overflow-wrap: anywhere; }
th button { all: unset; padding: .3rem 0; }
.js th button { cursor: pointer; border-bottom: 1px dotted var(--soft); }
th button:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
svg.bar { display: block; width: 100%; min-width: 3rem; height: .4rem; fill: var(--bar); }
.cards {
  display: grid; gap: 1rem; margin-top: 1.5rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr));
}
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem;
  min-width: 0; scroll-margin-top: 1rem;
}
section:target { outline: 2px solid var(--bar); }
ul { list-style: none; margin: 0; padding: 0; }
li { padding: .4rem 0; border-bottom: 1px solid var(--line); }
li:last-child { border-bottom: 0; }
.says { white-space: pre-line; }
img, video { max-width: 100%; max-height: 12rem; min-width: 4rem; image-rendering: auto; }
img { display: block; margin: .25rem 0; background: #fff; }
audio { width: 100%; max-width: 22rem; height: 2.25rem; display: block; margin: .25rem 0; }
.word { display: inline-block; margin: 0 .75rem .25rem 0; }
.gate { display: grid; grid-template-columns: minmax(4rem, 8rem) 1fr 3.5rem; gap: .5rem; }
section table { font-size: .8rem; }
section th, section td { padding: .3rem .25rem; }
section td.t { min-width: 5.5rem; }
.gate svg.bar { align-self: center; }
@media (max-width: 40rem) {
  body { padding: .75rem; }
  .wide { display: none; }
  table { font-size: .82rem; }
  th, td { padding: .3rem .25rem; }
  td.t { min-width: 6.5rem; }
  section { padding: .75rem; }
  section table { font-size: .75rem; }
  section td.t { min-width: 4.5rem; }
  th button { padding: .6rem 0; }
  li a, td a { display: inline-block; padding: .2rem 0; }
}
@media print { section { break-inside: avoid; } }
"""

SCRIPT = """
"use strict";
document.documentElement.classList.add("js");
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const isNumber = head.classList.contains("n");
      const before = head.getAttribute("aria-sort");
      const ascending = before ? before === "descending" : !isNumber;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const sign = ascending ? 1 : -1;
      const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const compare = (a, b) => {
        const first = value(a), second = value(b);
        if (!isNumber) return sign * first.localeCompare(second, undefined, {numeric: true});
        if (first === "" || second === "") return (first === "") - (second === "");
        return sign * (Number(first) - Number(second));
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(compare));
    });
  });
}
"""
