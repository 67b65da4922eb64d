"use strict";
// A click on a column's name sorts the table by it; again, the other way. What has no value stays last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const rows = Array.from(table.tBodies[0].rows);
      const keyOf = (row) => row.cells[column].dataset.key;
      const numeric = rows.every((row) => /^(nan|None)$/.test(keyOf(row)) || Number.isFinite(Number(keyOf(row))));
      const missing = (row) => /^(nan|None)$/.test(keyOf(row));
      rows.sort((a, b) => {
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        const order = numeric ? Number(keyOf(a)) - Number(keyOf(b)) : keyOf(a).localeCompare(keyOf(b));
        return descending ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
// On paper everything is open.
const closed = [];
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) { closed.push(details); details.open = true; }
});
window.addEventListener("afterprint", () => { while (closed.length) closed.pop().open = false; });
// A link to a chapter that is closed opens it.
const reveal = () => {
  const details = location.hash && document.getElementById(location.hash.slice(1))?.querySelector("details");
  if (details) details.open = true;
};
window.addEventListener("hashchange", reveal);
reveal();
// A button copies what stands beside it; where the browser lets no page copy, that is selected for the keyboard.
const copied = async (text, code) => {
  if (navigator.clipboard) {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* asked too late, or not allowed */ }
  }
  const shown = code.textContent;
  const selection = getSelection();
  code.textContent = text;
  selection.selectAllChildren(code);
  let done = false;
  try { done = document.execCommand("copy"); } catch { done = false; }
  if (done) { code.textContent = shown; selection.removeAllRanges(); }
  return done;
};
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const done = await copied(button.dataset.copy, button.previousElementSibling);
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
