"use strict";
// Later columns of a row's name stick beside the earlier ones: their offset is the width of those before.
function fixColumns(table) {
  const offsets = [];
  let left = 0;
  for (const header of table.querySelectorAll("th.fixed")) {
    offsets.push(`${left}px`);
    left += header.getBoundingClientRect().width;
  }
  for (const row of table.rows) offsets.forEach((offset, column) => { row.cells[column].style.left = offset; });
}
// A cell's number ("72.0 ± 6.6" is 72), or its text. The paper's rows go wherever the row above them goes, and a row of
// chance stays at the end with what follows it.
function keyOf(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = parseFloat(text);
  return Number.isNaN(number) ? text : number;
}
function sortBy(table, column, descending) {
  const groups = [];
  const end = [];
  for (const row of table.tBodies[0].rows) {
    if (row.classList.contains("chance") || end.length) end.push(row);
    else if (row.classList.contains("paper") && groups.length) groups[groups.length - 1].push(row);
    else groups.push([row]);
  }
  const sign = descending ? -1 : 1;
  groups.sort(([a], [b]) => {
    const [x, y] = [keyOf(a, column), keyOf(b, column)];
    if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
    return typeof x === "number" ? sign * (x - y) : sign * x.localeCompare(y);
  });
  table.tBodies[0].append(...groups.flat(), ...end);
}
for (const table of document.querySelectorAll("table.scores")) {
  fixColumns(table);
  if (!table.classList.contains("sortable")) continue;
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    header.tabIndex = 0;
    const sort = () => {
      const descending = header.getAttribute("aria-sort") !== "descending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortBy(table, column, descending);
    };
    header.addEventListener("click", sort);
    header.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
}
