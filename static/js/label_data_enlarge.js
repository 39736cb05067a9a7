// The enlarged image with its properties. Arrow keys show the next image; label keys work as in the grid.
import { chip, labels, quickButtons } from "./label_data_pane.js";
import { say } from "./messages.js";
import { Zoom } from "./label_data_zoom.js";

const megabytes = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

export class Enlarged {
  onRemove = () => {};
  onGive = () => {};

  constructor(grid) {
    this.grid = grid;
    this.id = null;
    this.zoom = new Zoom();
    document.addEventListener("click", (event) => {
      const step = event.target.closest("[data-enlarge-step]");
      if (step) this.#step(Number(step.dataset.enlargeStep));
    });
    document.addEventListener("keydown", (event) => {
      if (!this.isOpen || document.querySelector("#delete-dialog[open]")) return;
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.#step(step);
      const zoom = { PageUp: 1, PageDown: -1 }[event.key];
      if (zoom) {
        this.zoom.by(zoom);
        event.preventDefault();
      }
    });
    const image = document.getElementById("enlarge-image");
    image?.addEventListener("error", () => this.#onMissing(image));
    document.addEventListener("close", (event) => event.target.id === "enlarge" && this.#onClose(), true);
  }

  get dialog() {
    return document.getElementById("enlarge");
  }

  get isOpen() {
    return this.dialog?.open ?? false;
  }

  open(id) {
    if (!this.grid.tile(id)) return;
    this.id = id;
    this.#show();
    if (!this.isOpen) this.dialog.showModal();
  }

  // After an action: show the image that the grid focused next.
  moveOn(ids) {
    if (!this.isOpen || !ids.includes(this.id)) return;
    if (this.grid.focused) this.open(this.grid.focused);
    else this.dialog.close();
  }

  // After a refresh of the grid: labels may have changed, or the image may have left the tab.
  refresh() {
    if (!this.isOpen) return;
    if (this.grid.tile(this.id)) this.#show();
    else if (this.grid.focused) this.open(this.grid.focused);
    else this.dialog.close();
  }

  #show() {
    const { dataset, title } = this.grid.tile(this.id);
    const image = document.getElementById("enlarge-image");
    if (!image.src.endsWith(dataset.file)) {
      image.src = dataset.file;
      this.zoom.reset();
    }
    image.alt = title;
    document.getElementById("enlarge-name").textContent = title;
    document.getElementById("enlarge-name").title = title;
    document.getElementById("enlarge-facts").textContent = `${dataset.width} × ${dataset.height} · ${megabytes(Number(dataset.size))}`;
    const { benchUrl, historyUrl } = document.getElementById("label-data").dataset;
    document.getElementById("enlarge-similar").href = `${benchUrl}?tab=all&sort=similar&like=${this.id}`;
    document.getElementById("enlarge-history").href = historyUrl.replace("/images/0/", `/images/${this.id}/`);
    this.#showLabels();
    const ids = this.grid.ids();
    const [previous, next] = document.querySelectorAll("[data-enlarge-step]");
    previous.disabled = ids[0] === this.id;
    next.disabled = ids.at(-1) === this.id;
    const index = ids.indexOf(this.id);
    for (const near of [ids[index + 1], ids[index + 2], ids[index - 1]]) if (near) new Image().src = this.grid.tile(near).dataset.file;
    this.#showSuggestion();
    this.#showNeighbours();
  }

  // Without its address the image is asked for again when it is shown again.
  #onMissing(image) {
    if (!image.getAttribute("src")) return;
    image.removeAttribute("src");
    if (this.isOpen) say("This image could not be loaded. Check the network and open it again.", "error");
  }

  // Loads the most similar labeled images once the image has been shown for a moment.
  #showNeighbours() {
    const place = document.getElementById("enlarge-neighbours");
    if (place.dataset.of === this.id) return;
    place.dataset.of = this.id;
    place.replaceChildren();
    clearTimeout(this.waiting);
    const url = document.getElementById("label-data").dataset.neighboursUrl.replace("/images/0/", `/images/${this.id}/`);
    this.waiting = setTimeout(() => this.isOpen && htmx.ajax("GET", url, { target: place, swap: "innerHTML" }), 200);
  }

  #showSuggestion() {
    const line = document.getElementById("enlarge-suggestion");
    if (!line) return;
    const { suggestion, percent } = this.grid.tile(this.id).dataset;
    const label = labels().find((candidate) => candidate.id === suggestion);
    line.hidden = !label;
    line.textContent = label ? `Looks like ${label.name}, ${percent} %: + confirms, − refuses` : "";
  }

  #showLabels() {
    const carried = this.grid.labelsOf(this.id);
    const canLabel = "labelUrl" in document.getElementById("label-data").dataset;
    const chips = labels()
      .filter((label) => carried.includes(label.id))
      .map((label) => chip(label, canLabel ? () => this.onRemove(this.id, label.name) : null));
    document.getElementById("enlarge-labels").replaceChildren(...chips);
    document.getElementById("enlarge-quick")?.replaceChildren(...quickButtons((label) => this.onGive(label)));
  }

  #step(step) {
    const ids = this.grid.ids();
    const to = ids[ids.indexOf(this.id) + step];
    if (to) this.open(to);
  }

  #onClose() {
    delete document.getElementById("enlarge-neighbours").dataset.of;
    this.grid.focused = this.id;
    this.grid.hadFocus = true;
    this.grid.restore();
    this.grid.tile(this.id)?.focus();
  }
}
