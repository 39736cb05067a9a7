// All Labels, when there are many: find one by its name, order them by name or count. Kept in this browser.
const KEY = "exeml-label-order";
const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const ORDERS = {
  own: null,
  name: (one, other) => byName.compare(one.dataset.name, other.dataset.name),
  most: (one, other) => count(other) - count(one),
  fewest: (one, other) => count(one) - count(other),
};

const list = () => document.querySelector("#all-labels .label-rows");
const rows = () => [...(list()?.querySelectorAll(".label-row") ?? [])];
const count = (row) => Number(row.querySelector(".label-count").textContent.replaceAll(",", ""));

let wanted = "";

// After every renewal of the labels: they come in the project's own order, all of them.
export function arrangeLabels() {
  const order = localStorage.getItem(KEY) in ORDERS ? localStorage.getItem(KEY) : "own";
  const select = document.getElementById("label-order");
  if (!select) return;
  select.value = order;
  const found = document.getElementById("label-find");
  if (document.activeElement !== found) found.value = wanted;
  if (ORDERS[order]) list().append(...rows().sort(ORDERS[order]));
  for (const row of rows()) row.hidden = !row.dataset.name.toLowerCase().includes(wanted.toLowerCase());
  document.getElementById("label-none").hidden = rows().some((row) => !row.hidden);
}

document.addEventListener("input", (event) => {
  if (event.target.id !== "label-find") return;
  wanted = event.target.value.trim();
  arrangeLabels();
});

document.addEventListener("change", (event) => {
  if (event.target.id !== "label-order") return;
  localStorage.setItem(KEY, event.target.value);
  if (event.target.value === "own") document.dispatchEvent(new CustomEvent("label-data:refresh"));
  else arrangeLabels();
});
