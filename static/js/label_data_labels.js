// All Labels: search by name, order by name or count. The order is stored in this browser.
const KEY = "exeml-label-order";
const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
const ORDERS = {
  own: null,
  name: (first, second) => byName.compare(first.dataset.name, second.dataset.name),
  most: (first, second) => count(second) - count(first),
  fewest: (first, second) => count(first) - count(second),
};

const list = () => document.querySelector("#all-labels .label-rows");
const rows = () => [...(list()?.querySelectorAll(".label-row") ?? [])];
const count = (row) => Number(row.querySelector(".label-count").dataset.count);

let searched = "";

// On a narrow screen the labels and the list of pages are folded away; a button shows each of them.
const folds = () => document.querySelectorAll("[data-fold]");

function showFolds(opened) {
  const page = document.getElementById("label-data");
  for (const button of folds()) {
    const name = `shows-${button.dataset.fold}`;
    if (opened !== undefined) page.classList.toggle(name, button === opened && !page.classList.contains(name));
    button.setAttribute("aria-expanded", String(page.classList.contains(name)));
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-fold]");
  if (button) showFolds(button);
});

// Called after every refresh: the server sends all labels in the project's order.
export function arrangeLabels() {
  showFolds();
  const order = localStorage.getItem(KEY) in ORDERS ? localStorage.getItem(KEY) : "own";
  const select = document.getElementById("label-order");
  if (!select) return;
  select.value = order;
  const field = document.getElementById("label-find");
  if (document.activeElement !== field) field.value = searched;
  if (ORDERS[order]) list().append(...rows().sort(ORDERS[order]));
  for (const row of rows()) row.hidden = !row.dataset.name.toLowerCase().includes(searched.toLowerCase());
  document.getElementById("label-none").hidden = rows().some((row) => !row.hidden);
}

document.addEventListener("input", (event) => {
  if (event.target.id !== "label-find") return;
  searched = event.target.value.trim();
  arrangeLabels();
});

document.addEventListener("change", (event) => {
  if (event.target.id !== "label-order") return;
  localStorage.setItem(KEY, event.target.value);
  if (event.target.value === "own") document.dispatchEvent(new CustomEvent("label-data:refresh"));
  else arrangeLabels();
});
