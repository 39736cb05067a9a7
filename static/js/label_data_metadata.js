// Metadata in the pane and in the enlarged image: the values of one image, and the form that sets a value on the selected ones.

const DELAY_MS = 200;

export class Metadata {
  onSet = () => {}; // (column, value)

  constructor(grid) {
    this.grid = grid;
    document.addEventListener("label-data:selected", () => this.show());
    document.addEventListener("toggle", (event) => event.target.id === "metadata" && this.show(), true);
    document.addEventListener("submit", (event) => event.target.id === "metadata-form" && this.#onSubmit(event), true);
  }

  // The values of the selected image, where it is the only one and the section is open.
  show() {
    const section = document.getElementById("metadata");
    if (!section) return;
    section.querySelector("[data-set-metadata]").disabled = this.grid.count === 0;
    const place = document.getElementById("metadata-of-image");
    const [id] = this.grid.selected;
    clearTimeout(this.waiting);
    if (!section.open || this.grid.count !== 1) return place.replaceChildren();
    const url = section.dataset.url.replace("/images/0/", `/images/${id}/`);
    this.waiting = setTimeout(() => htmx.ajax("GET", url, { target: place, swap: "innerHTML" }), DELAY_MS);
  }

  #onSubmit(event) {
    event.preventDefault();
    event.stopPropagation();
    const { column, value } = event.target.elements;
    if (this.grid.count) this.onSet(column.value, value.value);
  }
}
