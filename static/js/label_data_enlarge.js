// The enlarged image with its properties. Arrow keys show the next image; label keys work as in the grid.
import { number } from "./display.js";
import { chip, labels, quickButtons } from "./label_data_pane.js";
import { Zoom } from "./label_data_zoom.js";

const megabytes = (bytes) => (bytes < 1e6 ? `${number(Math.max(1, bytes / 1e3))} kB` : `${number(bytes / 1e6, 1)} MB`);

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
    document.addEventListener("close", (event) => event.target.id === "enlarge" && this.#onClose(), true);
    document.addEventListener("error", (event) => event.target.id === "enlarge-image" && this.#showThumbnail(), true);
    window.addEventListener("online", () => this.isOpen && this.#show());
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
      document.getElementById("enlarge-problem").hidden = true;
      this.zoom.reset();
    }
    image.style.setProperty("--ratio", String(Number(dataset.width) / Number(dataset.height)));
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

  // The file cannot be loaded, for example without a connection: its thumbnail is here already.
  #showThumbnail() {
    const image = document.getElementById("enlarge-image");
    const thumbnail = this.grid.tile(this.id)?.querySelector("img");
    if (!thumbnail || image.src === thumbnail.src) return;
    image.src = thumbnail.src;
    document.getElementById("enlarge-problem").hidden = false;
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
    const text = gettext("Looks like %(label)s, %(share)s: + confirms, − rejects");
    line.textContent = label ? interpolate(text, { label: label.name, share: `${number(Number(percent))} %` }, true) : "";
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
