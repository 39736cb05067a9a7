// Rubber-band selection: dragging over the grid selects the tiles it touches; with Ctrl it adds to the selection.

const MIN_DRAG_PX = 6;
const EDGE_PX = 40;

export class DragSelect {
  constructor(grid) {
    this.grid = grid;
    document.addEventListener("mousedown", (event) => this.#start(event));
    document.addEventListener("mousemove", (event) => this.from && this.#move(event));
    document.addEventListener("mouseup", () => this.#end());
    document.addEventListener("click", (event) => this.#suppressClick(event), true);
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.#cancel());
  }

  #start(event) {
    const middle = event.target.closest?.(".middle");
    const isOnControl = event.target.closest?.("button, a, input, summary, label"); // not translated: tags
    const isOnScrollbar = middle && event.clientX > middle.getBoundingClientRect().left + middle.clientWidth;
    if (event.button !== 0 || event.shiftKey || !middle || isOnControl || isOnScrollbar) return;
    this.middle = middle;
    this.before = event.ctrlKey || event.metaKey ? [...this.grid.selected] : [];
    this.from = this.#point(event);
  }

  // In the coordinates of the scrolled area, so that scrolling does not move the band's start.
  #point(event) {
    const box = this.middle.getBoundingClientRect();
    return { x: event.clientX - box.left + this.middle.scrollLeft, y: event.clientY - box.top + this.middle.scrollTop };
  }

  #move(event) {
    const to = this.#point(event);
    if (!this.box && Math.hypot(to.x - this.from.x, to.y - this.from.y) < MIN_DRAG_PX) return;
    if (!this.box) this.#draw();
    const [left, right] = [this.from.x, to.x].sort((a, b) => a - b);
    const [top, bottom] = [this.from.y, to.y].sort((a, b) => a - b);
    Object.assign(this.box.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
    const touched = this.boxes.filter((box) => box.left < right && box.right > left && box.top < bottom && box.bottom > top);
    this.grid.select([...new Set([...this.before, ...touched.map((box) => box.id)])]);
    this.#scroll(event);
    event.preventDefault();
  }

  #draw() {
    this.box = document.createElement("div");
    this.box.className = "band";
    this.middle.append(this.box);
    const frame = this.middle.getBoundingClientRect();
    const { scrollLeft, scrollTop } = this.middle;
    this.boxes = this.grid.tiles().map((tile) => {
      const box = tile.getBoundingClientRect();
      const left = box.left - frame.left + scrollLeft;
      const top = box.top - frame.top + scrollTop;
      return { id: tile.dataset.image, left, top, right: left + box.width, bottom: top + box.height };
    });
  }

  #scroll(event) {
    const frame = this.middle.getBoundingClientRect();
    if (event.clientY > frame.bottom - EDGE_PX) this.middle.scrollTop += 20;
    if (event.clientY < frame.top + EDGE_PX) this.middle.scrollTop -= 20;
  }

  #end() {
    if (this.box) {
      this.box.remove();
      this.isSuppressing = true; // the click that follows must not select one tile
      setTimeout(() => (this.isSuppressing = false), 0);
    }
    this.box = this.from = null;
  }

  #suppressClick(event) {
    if (!this.isSuppressing) return;
    this.isSuppressing = false;
    event.stopPropagation();
    event.preventDefault();
  }

  #cancel() {
    if (!this.box) return;
    this.grid.select(this.before);
    this.#end();
  }
}
