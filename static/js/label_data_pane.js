// The right pane: number of selected images, their labels, and the labels to add.

import { number } from "./display.js";

// The labels of the project as All Labels shows them.
export const labels = () =>
  [...document.querySelectorAll("#all-labels .label-row")].map(({ dataset }) => ({
    id: dataset.label,
    name: dataset.name,
    colour: dataset.colour,
    key: dataset.key,
  }));

// `words`: the title and the name of the button that removes the label.
export function chip(label, onRemove, words = removeWords(label)) {
  const item = document.createElement("li");
  item.className = "chip";
  item.innerHTML = '<span class="dot"></span><span class="cut"></span>';
  const [dot, name] = item.children;
  if (label.colour !== undefined) dot.classList.add(`label-${label.colour}`);
  name.textContent = label.name;
  item.title = label.name;
  if (label.count) item.insertAdjacentHTML("beforeend", `<span class="muted tabular">${number(label.count)}</span>`);
  if (onRemove) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", words.name);
    button.title = words.title;
    button.textContent = "×";
    button.addEventListener("click", onRemove);
    item.append(button);
  }
  return item;
}

function removeWords({ name }) {
  return { title: gettext("Remove"), name: interpolate(gettext("Remove %(label)s"), { label: name }, true) };
}

function removeFromSelectedWords({ name }) {
  const text = gettext("Remove %(label)s from the selected images");
  return { title: gettext("Remove this label from the selected images"), name: interpolate(text, { label: name }, true) };
}

// A button for every label: does with mouse or finger what the keys do.
export function quickButtons(onGive, isEnabled = true) {
  return labels().map((label) => {
    const item = document.createElement("li");
    item.innerHTML = '<button class="quick" type="button"><span class="dot"></span><span class="cut"></span></button>';
    const [dot, name] = item.firstChild.children;
    dot.classList.add(`label-${label.colour}`);
    name.textContent = label.name;
    item.firstChild.title = label.name;
    item.firstChild.disabled = !isEnabled;
    if (label.key) item.firstChild.insertAdjacentHTML("afterbegin", `<kbd aria-hidden="true">${label.key.toUpperCase()}</kbd>`);
    item.firstChild.addEventListener("click", () => onGive(label));
    return item;
  });
}

export class Pane {
  onApply = () => {};
  onGive = () => {};
  onRemove = () => {};

  constructor(grid) {
    this.grid = grid;
    this.chosen = []; // label names
    document.addEventListener("label-data:selected", () => this.show());
    document.addEventListener("label-data:seen", () => this.showConfirming());
    document.addEventListener("keydown", (event) => event.target.id === "label-input" && this.#onKey(event));
    document.addEventListener("submit", (event) => event.target.id === "label-form" && this.#onSubmit(event));
    document.addEventListener("input", (event) => event.target.id === "label-input" && this.#showButtons());
    document.addEventListener("click", (event) => event.target.closest("[data-cancel]") && this.#cancel());
  }

  get input() {
    return document.getElementById("label-input");
  }

  show() {
    const count = this.grid.count;
    const selected = interpolate(ngettext("%(count)s image selected", "%(count)s images selected", count), { count: number(count) }, true);
    for (const place of document.querySelectorAll("[data-selected]")) place.textContent = selected;
    for (const button of document.querySelectorAll("[data-delete], [data-restore], [data-enlarge], [data-split]")) button.disabled = count === 0;
    const hasLabels = [...this.grid.selected].some((id) => this.grid.labelsOf(id).length > 0);
    for (const button of document.querySelectorAll("[data-review]")) button.disabled = !hasLabels;
    document.getElementById("label-data").classList.toggle("has-selection", count > 0);
    this.showConfirming();
    if (!this.input) return;
    document.getElementById("quick").replaceChildren(...quickButtons((label) => this.onGive(label), count > 0));
    this.#showChosen();
    this.#showHeld();
  }

  // The numbers on the buttons above the grid: how many images each of them is about.
  showConfirming() {
    const page = document.querySelector("[data-page-count]");
    if (page) page.textContent = number(this.grid.seenTiles().length);
    const place = document.querySelector("[data-confirm-count]");
    if (!place) return;
    const count = this.grid.matching || this.grid.confirmable().length;
    place.textContent = number(count);
    document.querySelector("[data-confirm]").disabled = count === 0;
    document.querySelector("[data-refuse]").disabled = this.grid.count === 0;
  }

  // The server refused the labels: shows them in the field again, beside the error.
  restoreNames(names) {
    this.chosen = names;
    this.show();
    this.input?.focus();
  }

  #showChosen() {
    const known = new Map(labels().map((label) => [label.name.toLowerCase(), label]));
    const chips = this.chosen.map((name) =>
      chip({ ...(known.get(name.toLowerCase()) ?? {}), name }, () => {
        this.chosen = this.chosen.filter((other) => other !== name);
        this.show();
        this.input.focus();
      }),
    );
    document.getElementById("chosen").replaceChildren(...chips);
    this.#showButtons();
  }

  #showButtons() {
    const hasLabel = this.chosen.length > 0 || this.input.value.trim() !== "";
    document.querySelector("#label-form .pane-ok").disabled = !(hasLabel && this.grid.selected.size);
    document.querySelector("#label-form [data-cancel]").disabled = !hasLabel && !this.grid.selected.size;
  }

  #showHeld() {
    const counts = new Map();
    for (const id of this.grid.selected) {
      for (const label of this.grid.labelsOf(id)) counts.set(label, (counts.get(label) ?? 0) + 1);
    }
    const held = labels().filter((label) => counts.has(label.id));
    document.getElementById("held").hidden = held.length === 0;
    const chips = held.map((label) =>
      chip({ ...label, count: counts.get(label.id) }, () => this.onRemove(label.name), removeFromSelectedWords(label)),
    );
    document.getElementById("held-labels").replaceChildren(...chips);
  }

  #onKey(event) {
    if (event.key === "Escape") {
      this.#cancel();
      event.preventDefault();
    } else if (event.key === "Enter" && this.input.value.trim()) {
      this.#choose(this.input.value.trim());
      event.preventDefault();
    } else if (event.key === "Backspace" && !this.input.value && this.chosen.length) {
      this.chosen.pop();
      this.show();
    }
  }

  #choose(name) {
    const isMulti = "multiLabel" in document.getElementById("label-data").dataset;
    const others = isMulti ? this.chosen.filter((other) => other.toLowerCase() !== name.toLowerCase()) : [];
    const known = labels().find((label) => label.name.toLowerCase() === name.toLowerCase());
    this.chosen = [...others, known?.name ?? name];
    this.input.value = "";
    this.#hideError();
    this.show();
  }

  #onSubmit(event) {
    event.preventDefault();
    if (this.input.value.trim()) this.#choose(this.input.value.trim());
    if (!this.chosen.length || !this.grid.selected.size) return;
    const names = this.chosen;
    this.chosen = [];
    this.grid.hadFocus = true; // the focus moves to the next image
    this.#hideError();
    this.onApply(names);
    this.show();
  }

  #cancel() {
    this.chosen = [];
    this.input.value = "";
    this.#hideError();
    this.grid.select([]);
    this.grid.hadFocus = true;
    this.input.blur();
    this.grid.tile(this.grid.focused)?.focus({ preventScroll: true });
  }

  #hideError() {
    const error = document.getElementById("label-error");
    error.hidden = true;
    error.textContent = "";
  }
}
