// The grid: selection and focus, by pointer and keys.

import { isTyping } from "./messages.js";
import { Seen } from "./label_data_seen.js";

const SIZE_KEY = "exeml-tile-size";

export class Grid {
  constructor() {
    this.selected = new Set(); // image ids as text
    this.matching = 0; // number of matching images if all of them are selected, else 0
    this.focused = null;
    this.anchor = null; // where a range begins
    this.hadFocus = false;
    this.seen = new Seen(() => this.#tell());
    document.addEventListener("mousedown", (event) => this.#onPress(event));
    document.addEventListener("click", (event) => this.#onClick(event));
    document.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("focusin", (event) => this.#onFocus(event));
    document.addEventListener("input", (event) => event.target.id === "tile-size" && this.#resize(event.target.value));
  }

  tiles = () => [...document.querySelectorAll("#tiles > .tile")];
  tile = (id) => document.getElementById(`image-${id}`);
  ids = () => this.tiles().map((tile) => tile.dataset.image);
  labelsOf = (id) => (this.tile(id)?.dataset.labels ?? "").split(" ").filter(Boolean);
  hasFocus = () => document.activeElement?.closest(".tile") !== null && document.activeElement !== document.body;

  // --- after a refresh of the grid: remaining images stay selected, and the focus is kept ---

  restore() {
    const ids = this.ids();
    this.matching = 0;
    this.selected = new Set(ids.filter((id) => this.selected.has(id)));
    if (!this.focused || !this.tile(this.focused)) this.focused = ids[Math.min(this.place ?? 0, ids.length - 1)] ?? null;
    this.paint();
    const size = localStorage.getItem(SIZE_KEY);
    if (size) this.#resize(size);
    const isLost = document.activeElement === document.body || document.activeElement === null;
    if (this.hadFocus && isLost && this.focused) this.tile(this.focused).focus({ preventScroll: true });
  }

  get isMatching() {
    return this.matching > 0;
  }

  get count() {
    return this.matching || this.selected.size;
  }

  paint() {
    if (this.isMatching) this.selected = new Set(this.ids());
    for (const tile of this.tiles()) {
      tile.setAttribute("aria-selected", String(this.selected.has(tile.dataset.image)));
      tile.tabIndex = tile.dataset.image === this.focused ? 0 : -1;
      if (!tile.querySelector(".tick")) tile.insertAdjacentHTML("beforeend", '<span class="tick"></span>');
    }
    this.seen.observe(this.tiles());
    document.dispatchEvent(new CustomEvent("label-data:selected"));
  }

  // At most once per frame: many tiles come onto the screen together.
  #tell() {
    this.telling ??= requestAnimationFrame(() => {
      this.telling = null;
      document.dispatchEvent(new CustomEvent("label-data:seen"));
    });
  }

  // The tiles of the page that a person has looked at: not those that are loaded ahead.
  seenTiles = () => this.tiles().filter((tile) => this.seen.isPassed(tile));

  // The tiles that `+` confirms: of the enlarged image or the selection, else all that were seen. Each has a suggestion.
  confirmable(enlargedId) {
    const chosen = (id) => (enlargedId ? id === enlargedId : this.selected.has(id));
    const isChosen = enlargedId || this.selected.size;
    return this.tiles().filter((tile) => tile.dataset.suggestion && (isChosen ? chosen(tile.dataset.image) : this.seen.has(tile)));
  }

  select(ids) {
    this.matching = 0;
    this.selected = new Set(ids);
    this.paint();
  }

  // Selects all images that the query matches, also those on other pages.
  selectMatching(total) {
    this.matching = total;
    this.paint();
    if (this.focused) this.tile(this.focused)?.focus({ preventScroll: true });
  }

  // Selects the current page: what was on the screen.
  selectPage() {
    this.select(this.seenTiles().map((tile) => tile.dataset.image));
    if (this.focused) this.tile(this.focused)?.focus();
  }

  // Focuses the next image that is not among `ids`; with `isLeaving` removes the images `ids` at once.
  moveOn(ids, isLeaving) {
    const gone = new Set(ids);
    const all = this.ids();
    const last = all.findLastIndex((id) => gone.has(id));
    const next = all.find((id, index) => index > last && !gone.has(id)) ?? all.findLast((id) => !gone.has(id)) ?? null;
    const hadFocus = this.hadFocus || this.hasFocus();
    if (isLeaving) for (const id of gone) this.tile(id)?.remove();
    this.selected.clear();
    this.matching = 0;
    this.anchor = null;
    this.focused = next;
    this.place = next ? this.ids().indexOf(next) : 0;
    this.paint();
    const dialog = document.querySelector("dialog[open]");
    if (next && hadFocus && !dialog) this.#focus(next);
  }

  #focus(id) {
    this.focused = id;
    this.place = this.ids().indexOf(id);
    for (const tile of document.querySelectorAll('#tiles > .tile[tabindex="0"]')) tile.tabIndex = -1;
    const tile = this.tile(id);
    tile.tabIndex = 0;
    tile.focus({ preventScroll: true });
    tile.scrollIntoView({ block: "nearest" });
  }

  // Whether the focused image is on the screen; if not, it is scrolled there.
  showFocused() {
    const tile = this.tile(this.focused);
    const box = tile?.getBoundingClientRect();
    const frame = document.querySelector(".middle").getBoundingClientRect();
    if (box && box.bottom > Math.max(frame.top, 0) && box.top < Math.min(frame.bottom, innerHeight)) return true;
    tile?.scrollIntoView({ block: "center" });
    return false;
  }

  // --- pointer ---

  #onPress(event) {
    document.getElementById("tiles")?.classList.remove("has-keys");
    if (event.target.closest(".tile") && event.shiftKey) event.preventDefault(); // no text selection
  }

  #onClick(event) {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    const id = tile.dataset.image;
    if (event.shiftKey) this.#range(id, event.ctrlKey || event.metaKey);
    else if (event.ctrlKey || event.metaKey || event.pointerType === "touch") this.#toggle(id);
    else {
      const isOnly = this.selected.size === 1 && this.selected.has(id);
      this.anchor = id;
      this.isClicked = true; // after a click the selection follows the arrow keys
      this.select(isOnly && event.detail < 2 ? [] : [id]);
    }
    this.#focus(id);
  }

  #toggle(id) {
    this.anchor = id;
    this.isClicked = false;
    this.matching = 0;
    if (!this.selected.delete(id)) this.selected.add(id);
    this.paint();
  }

  #range(to, isAdding) {
    const ids = this.ids();
    const from = ids.indexOf(this.anchor ?? this.focused ?? to);
    const end = ids.indexOf(to);
    const between = ids.slice(Math.min(from, end), Math.max(from, end) + 1);
    this.select(isAdding ? [...this.selected, ...between] : between);
  }

  // --- keys ---

  #onFocus(event) {
    const tile = event.target.closest?.(".tile");
    this.hadFocus = tile !== null && tile !== undefined;
    if (tile) this.focused = tile.dataset.image;
  }

  #onKey(event) {
    const isCommand = event.ctrlKey || event.metaKey;
    if (document.querySelector("dialog[open]") || isTyping(event.target)) return;
    if (this.#isAtStart() && !isCommand && !event.altKey && !event.shiftKey && /^(Tab|Arrow|Home|End)/.test(event.key)) this.#enter(event);
    else if (isCommand && event.key.toLowerCase() === "a" && this.ids().length) {
      this.selectPage();
      event.preventDefault();
    } else if (event.key === "Escape" && this.selected.size) this.select([]);
    else if (event.target.closest?.(".tile")) this.#onTileKey(event);
  }

  // Nothing has the focus: a fresh page, or a link that a swap of the page replaced.
  #isAtStart = () => [document.body, document.documentElement, null].includes(document.activeElement) && this.ids().length > 0;

  // Tab and the arrow keys lead straight to the images.
  #enter(event) {
    this.#focus(this.tile(this.focused) ? this.focused : this.ids()[0]);
    document.getElementById("tiles").classList.add("has-keys");
    event.preventDefault();
  }

  #onTileKey(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns(), ArrowDown: this.#columns() }[event.key];
    if (event.key === " ") this.#toggle(this.focused);
    else if (step || event.key === "Home" || event.key === "End") this.#step(step, event);
    else return;
    document.getElementById("tiles").classList.add("has-keys");
    event.preventDefault();
  }

  #step(step, event) {
    const ids = this.ids();
    let to = ids.indexOf(this.focused) + (step ?? 0);
    if (event.key === "Home") to = 0;
    if (event.key === "End") to = ids.length - 1;
    if (to < 0 || to >= ids.length) return;
    if (event.shiftKey) {
      this.anchor ??= this.focused;
      this.#range(ids[to], false);
    } else {
      this.anchor = null;
      if (this.isClicked && this.selected.size === 1 && this.selected.has(this.focused)) this.select([ids[to]]);
    }
    this.#focus(ids[to]);
  }

  #columns() {
    const tiles = this.tiles();
    const top = tiles[0]?.offsetTop;
    const wrap = tiles.findIndex((tile) => tile.offsetTop !== top);
    return wrap === -1 ? tiles.length : wrap;
  }

  #resize(size) {
    const slider = document.getElementById("tile-size");
    if (slider) slider.value = size;
    document.getElementById("label-data").style.setProperty("--tile", `${size}px`);
    localStorage.setItem(SIZE_KEY, size);
  }
}
