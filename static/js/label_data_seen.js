// Which images were on the screen, and what was suggested for them there. An image counts as seen once at least half of
// its tile, with the picture loaded, was on the screen for a moment; it stays seen when it is scrolled away. What is
// loaded ahead is not seen, and a tile that shows other labels since has to be seen again.

const MOMENT_MS = 100;
const SHARE = 0.5; // of the tile

// What a tile shows, as the server reads it: “id:suggested label:labels”.
export const shownOn = ({ dataset }) => `${dataset.image}:${dataset.suggestion ?? ""}:${dataset.labels.replaceAll(" ", "+")}`;

export class Seen {
  constructor(onChange) {
    this.onChange = onChange;
    this.shown = new Map(); // image id → what its tile showed when it was seen
    this.onScreen = new Set(); // tiles
    this.observed = new WeakSet();
    this.observer = new IntersectionObserver((entries) => this.#onEntries(entries), { threshold: SHARE });
    document.addEventListener("load", (event) => this.#wait(event.target.closest?.(".tile")), true);
    document.addEventListener("error", (event) => this.#wait(event.target.closest?.(".tile")), true);
    document.addEventListener("visibilitychange", () => this.onScreen.forEach((tile) => this.#wait(tile)));
  }

  // After the grid was drawn, or tiles were added or changed in place.
  observe(tiles) {
    for (const tile of this.onScreen) if (!tile.isConnected) this.onScreen.delete(tile);
    for (const tile of tiles) {
      if (this.observed.has(tile)) this.#wait(tile);
      else this.observer.observe(tile);
      this.observed.add(tile);
    }
  }

  has(tile) {
    return this.shown.get(tile.dataset.image) === shownOn(tile);
  }

  // Seen before, or on the screen right now.
  isPassed(tile) {
    return this.has(tile) || this.onScreen.has(tile);
  }

  #onEntries(entries) {
    for (const { target, intersectionRatio } of entries) {
      if (intersectionRatio < SHARE) this.onScreen.delete(target);
      else {
        this.onScreen.add(target);
        this.#wait(target);
      }
    }
    this.onChange();
  }

  #wait(tile) {
    if (!tile || !this.onScreen.has(tile) || this.has(tile)) return;
    setTimeout((shown) => this.#see(tile, shown), MOMENT_MS, shownOn(tile));
  }

  #see(tile, shown) {
    const isStill = this.onScreen.has(tile) && tile.isConnected && !document.hidden && shownOn(tile) === shown;
    if (!isStill || !tile.querySelector("img").complete) return;
    this.shown.set(tile.dataset.image, shown);
    this.onChange();
  }
}
