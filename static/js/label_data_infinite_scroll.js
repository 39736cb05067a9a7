// Endless scrolling: the next page of images is fetched before it becomes visible. The URL follows the visible page,
// so an action, a reload and Back return to it.

const AHEAD_PX = 1200;

export class InfiniteScroll {
  constructor(gridUrl, onMore) {
    this.gridUrl = gridUrl;
    this.onMore = onMore;
    document.addEventListener("scroll", () => this.#remember(), { capture: true, passive: true });
    this.observeEnd();
  }

  // After the grid was swapped: observe the end of the new grid.
  observeEnd() {
    this.observer?.disconnect();
    const middle = document.querySelector(".middle");
    const doesScroll = middle && getComputedStyle(middle).overflowY === "auto";
    const options = { root: doesScroll ? middle : null, rootMargin: `${AHEAD_PX}px` };
    this.observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.#more(), options);
    const end = document.querySelector("#tiles > .tiles-next");
    if (end) this.observer.observe(end);
  }

  // The query string of the page that the topmost visible image belongs to.
  here() {
    const first = document.getElementById("bench-head").dataset.here;
    const top = document.querySelector(".middle")?.getBoundingClientRect().top ?? 0;
    let page = first;
    for (const tile of document.querySelectorAll("#tiles > .tile[data-page]")) {
      if (tile.getBoundingClientRect().top > Math.max(top, 0) + 60) break;
      page = tile.dataset.page;
    }
    return page;
  }

  // Call before the grid is swapped for one page of images; the result, called after it, puts the other loaded tiles
  // back around those of the page and returns whether there were any.
  keepTiles() {
    const first = document.getElementById("bench-head").dataset.here;
    const old = [...document.querySelectorAll("#tiles > *")];
    return () => {
      // In other orders the images are elsewhere after a change.
      if (!["id", "name"].includes(document.getElementById("bench").dataset.order)) return false;
      const tiles = document.getElementById("tiles");
      const fresh = tiles ? [...tiles.querySelectorAll(":scope > .tile")] : [];
      const ids = new Set(fresh.map((tile) => tile.id));
      const start = old.findIndex((tile) => ids.has(tile.id));
      if (start === -1) return false;
      const end = old.findLastIndex((tile) => ids.has(tile.id));
      const head = document.getElementById("bench-head");
      const earlier = old.slice(0, start);
      const later = old.slice(end + 1).some((one) => one.matches(".tile")) ? old.slice(end + 1) : [];
      if (earlier.length) {
        fresh[0].dataset.page = head.dataset.here;
        head.dataset.here = first;
        tiles.prepend(...earlier);
      }
      if (later.length) {
        tiles.querySelector(":scope > .tiles-next")?.remove();
        tiles.append(...later);
      }
      return earlier.length + later.length > 0;
    };
  }

  async #more() {
    const end = document.querySelector("#tiles > .tiles-next");
    if (!end || this.isFetching) return;
    this.isFetching = true;
    const next = end.dataset.next;
    try {
      const response = await fetch(`${this.gridUrl}?${next}&part=tiles`, { headers: { "HX-Request": "true" } });
      if (!response.ok || !end.isConnected) return;
      const holder = document.createElement("template");
      holder.innerHTML = await response.text();
      for (const tile of holder.content.querySelectorAll(".tile")) {
        if (document.getElementById(tile.id)) tile.remove(); // shown already: it moved to a later page meanwhile
      }
      holder.content.querySelector(".tile")?.setAttribute("data-page", next);
      end.replaceWith(holder.content);
      this.onMore();
      this.observeEnd();
    } catch {
      // no connection: the observer retries on the next scroll
    } finally {
      this.isFetching = false;
    }
  }

  #remember() {
    if (this.isDue) return;
    this.isDue = true;
    setTimeout(() => {
      this.isDue = false;
      if (!document.querySelector("#tiles > .tile[data-page]")) return;
      const page = this.here();
      if (location.search !== `?${page}`) history.replaceState(history.state, "", `${location.pathname}?${page}`);
    }, 250);
  }
}
