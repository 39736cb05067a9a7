// Other people in the project, the images they are at, and changes that this page does not show yet: those of others,
// and those that the same person made in another window.
const EVERY_MS = 5000;

export class Presence {
  constructor(grid, page, actions, onChange) {
    this.grid = grid;
    this.page = page;
    this.actions = actions;
    this.onChange = onChange;
    this.last = 0;
    this.here = [];
    this.csrf = JSON.parse(document.body.getAttribute("hx-headers"))["x-csrftoken"];
    setInterval(() => this.#report(), EVERY_MS);
    document.addEventListener("visibilitychange", () => this.#report());
    window.addEventListener("pageshow", (event) => event.persisted && this.#report());
    document.addEventListener("htmx:afterSwap", () => this.catchUp());
    this.catchUp();
    this.#report();
  }

  // Shows what was changed since the event in tiles that an answer did not bring.
  async refreshTiles(since) {
    const answer = await this.#ask(since);
    if (answer) await this.#replaceTiles(answer.touched);
  }

  #ask(since) {
    const body = new URLSearchParams({ image: this.grid.focused ?? "", since });
    return fetch(this.page.dataset.hereUrl, { method: "POST", body, headers: { "X-CSRFToken": this.csrf } })
      .then((response) => (response.ok && !response.redirected ? response.json() : null))
      .catch(() => null);
  }

  // The page shows all changes up to the event that the grid names.
  catchUp(event = Number(document.getElementById("grid").dataset.lastEvent)) {
    this.last = Math.max(this.last, event);
  }

  async #report() {
    if (document.hidden || this.isReporting) return;
    this.isReporting = true;
    const answer = await this.#ask(this.last);
    this.isReporting = false;
    if (!answer) return;
    this.here = answer.people;
    this.showPeople();
    if (!this.actions.isIdle) return; // their answers say what they changed
    const isNew = answer.last > this.last;
    const isOther = answer.state !== document.getElementById("grid").dataset.state;
    this.catchUp(answer.last);
    if (isNew || isOther) await this.#show(answer);
  }

  // Shows the people present, and each person's initial on the image that the person is at.
  showPeople() {
    const list = document.getElementById("people-here");
    if (list) {
      list.replaceChildren(...this.here.map(({ name }) => initial(name, interpolate(gettext("%(name)s is here"), { name }, true))));
      list.hidden = !this.here.length;
    }
    for (const old of document.querySelectorAll(".tile > .tile-people")) old.remove();
    for (const { name, image } of this.here) {
      const tile = image && this.grid.tile(String(image));
      if (!tile) continue;
      const badges = tile.querySelector(".tile-people") ?? tile.appendChild(element("span", "tile-people"));
      badges.append(initial(name, interpolate(gettext("%(name)s is looking at this image"), { name }, true)));
    }
  }

  async #show({ touched, names }) {
    this.onChange(names, await this.#replaceTiles(touched));
  }

  // Replaces tiles that were changed in place: selection, focus and position stay. Resolves with their image ids.
  async #replaceTiles(touched) {
    const shown = touched.filter((id) => this.grid.tile(String(id)));
    if (shown.length) {
      const url = `${this.page.dataset.gridUrl}?${new URLSearchParams({ only: shown.join(",") })}`;
      const html = await fetch(url).then((response) => (response.ok ? response.text() : ""));
      const fresh = new DOMParser().parseFromString(html, "text/html");
      for (const tile of fresh.querySelectorAll(".tile")) this.#replaceTile(tile);
      this.grid.paint();
      this.showPeople();
    }
    return shown.map(String);
  }

  #replaceTile(fresh) {
    const tile = this.grid.tile(fresh.dataset.image);
    if (!tile) return;
    for (const name of Object.keys(tile.dataset)) if (!(name in fresh.dataset)) delete tile.dataset[name];
    Object.assign(tile.dataset, fresh.dataset);
    for (const old of tile.querySelectorAll(":scope > :not(img)")) old.remove();
    tile.append(...[...fresh.children].filter((child) => child.tagName !== "IMG"));
    tile.querySelector("img").alt = fresh.querySelector("img").alt;
  }
}

function element(name, className) {
  const created = document.createElement(name);
  created.className = className;
  return created;
}

function initial(name, title) {
  const badge = element("span", "person");
  badge.textContent = name.slice(0, 1).toUpperCase();
  badge.title = title;
  badge.setAttribute("role", "img");
  badge.setAttribute("aria-label", title);
  return badge;
}
