// Zoom and pan of the enlarged image: Ctrl and the wheel, double click, the buttons, Page Up and Page Down; drag moves it.

const MAX_SCALE = 8;
const STEP = 1.5;

export class Zoom {
  constructor() {
    this.reset();
    document.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    document.addEventListener("dblclick", (event) => event.target.id === "enlarge-image" && this.#to(this.scale > 1 ? 1 : 2.5, event));
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[data-zoom]");
      if (button) this.by(Number(button.dataset.zoom));
    });
    document.addEventListener("pointerdown", (event) => this.#grab(event));
    document.addEventListener("pointermove", (event) => this.#drag(event));
    document.addEventListener("pointerup", () => (this.grabbed = null));
  }

  get image() {
    return document.getElementById("enlarge-image");
  }

  reset() {
    this.scale = 1;
    this.x = this.y = 0;
    this.grabbed = null;
    this.#show();
  }

  by(direction) {
    this.#to(direction > 0 ? this.scale * STEP : this.scale / STEP);
  }

  // The point under the pointer keeps its position.
  #to(target, event) {
    const scale = Math.min(MAX_SCALE, Math.max(1, target));
    const box = this.image.parentElement.getBoundingClientRect();
    const px = event ? event.clientX - box.left - box.width / 2 : 0;
    const py = event ? event.clientY - box.top - box.height / 2 : 0;
    this.x = px - ((px - this.x) * scale) / this.scale;
    this.y = py - ((py - this.y) * scale) / this.scale;
    this.scale = scale;
    if (scale === 1) this.x = this.y = 0;
    this.#show();
  }

  #onWheel(event) {
    if (!event.ctrlKey || !event.target.closest?.(".enlarge-picture")) return;
    event.preventDefault();
    this.#to(this.scale * (event.deltaY < 0 ? 1.2 : 1 / 1.2), event);
  }

  #grab(event) {
    if (event.target.id !== "enlarge-image" || this.scale === 1) return;
    this.grabbed = { x: event.clientX - this.x, y: event.clientY - this.y };
    event.preventDefault();
  }

  #drag(event) {
    if (!this.grabbed) return;
    this.x = event.clientX - this.grabbed.x;
    this.y = event.clientY - this.grabbed.y;
    this.#show();
  }

  #show() {
    if (!this.image) return;
    this.image.style.transform = this.scale === 1 ? "" : `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.image.classList.toggle("is-zoomed", this.scale > 1);
  }
}
