// The queue of actions: sent to the server one by one, kept in local storage until the server has them.
// On a lost connection or an ended session a banner is shown; actions wait, also across a reload, and keep their order.

import { number } from "./display.js";

// Signing in again in another tab creates a new token: only the cookie has it.
const token = () => /(?:^|; )(?:exeml_)?csrftoken=([^;]+)/.exec(document.cookie)?.[1];

const RETRY_MS = [1000, 2000, 5000, 10_000];

export class ActionQueue {
  onAnswer = () => {}; // (html, status, isLast)
  onRefused = () => {}; // (action, message)

  constructor(key, csrf) {
    this.key = key;
    this.csrf = csrf;
    this.failures = 0;
    this.isSending = false;
    this.state = "connected"; // connected | away | signed-out
    this.waiting = this.#stored();
    window.addEventListener("online", () => this.pump());
    window.addEventListener("focus", () => this.state !== "connected" && this.pump());
  }

  get isIdle() {
    return !this.isSending && this.waiting.length === 0;
  }

  add(url, query, values) {
    this.waiting.push({ url, query, values });
    this.#store();
    this.pump();
  }

  async pump() {
    if (this.isSending) return;
    this.isSending = true;
    clearTimeout(this.timer);
    try {
      while (this.waiting.length) {
        if (!(await this.#sendFirst())) break;
      }
    } finally {
      this.isSending = false;
      this.#show();
    }
  }

  // Resolves with true if the action is finished and the next one may be sent.
  async #sendFirst() {
    const action = this.waiting[0];
    const answer = await this.#request(action);
    if (answer === null || answer.status >= 500) return this.#later("away");
    const html = await answer.text();
    if (answer.isSignIn || html.includes("data-too-old")) return this.#later("signed-out");
    this.state = "connected";
    this.failures = 0;
    this.waiting.shift();
    this.#store();
    if (answer.status === 403 || answer.status === 404) {
      this.onRefused(action, answer.status === 403 ? gettext("Your role does not allow it.") : gettext("It no longer exists."));
    } else this.onAnswer(html, answer.status, this.waiting.length === 0, action);
    return true;
  }

  async #request(action) {
    const body = new URLSearchParams();
    for (const [name, value] of Object.entries(action.values)) {
      for (const item of [value].flat()) body.append(name, item);
    }
    const headers = { "HX-Request": "true", "HX-Current-URL": location.href, "X-CSRFToken": token() ?? this.csrf };
    try {
      const response = await fetch(`${action.url}?${action.query}`, { method: "POST", headers, body });
      const away = response.headers.get("HX-Redirect") ?? (response.redirected ? response.url : "");
      return { status: response.status, isSignIn: away.includes("/sign-in/"), text: () => response.text() };
    } catch {
      return null;
    }
  }

  #later(state) {
    this.state = state;
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    this.timer = setTimeout(() => this.pump(), wait);
    return false;
  }

  #show() {
    const banner = document.getElementById("connection");
    if (!banner) return;
    const count = this.waiting.length;
    banner.hidden = this.state === "connected" || count === 0;
    const line = banner.querySelector("[data-connection-words]");
    const text = this.#waitingText(count);
    if (!banner.hidden && line.textContent !== text) line.textContent = text;
    banner.querySelector("[data-connection-sign-in]").hidden = this.state !== "signed-out";
  }

  #waitingText(count) {
    const texts = {
      away: ngettext(
        "No connection to the server. %(count)s change waits in this browser and will be sent when it returns. You can continue.",
        "No connection to the server. %(count)s changes wait in this browser and will be sent when it returns. You can continue.",
        count,
      ),
      "signed-out": ngettext(
        "You are signed out. %(count)s change waits in this browser until you sign in again.",
        "You are signed out. %(count)s changes wait in this browser until you sign in again.",
        count,
      ),
    };
    return interpolate(texts[this.state] ?? "", { count: number(count) }, true);
  }

  #stored() {
    try {
      return JSON.parse(localStorage.getItem(this.key)) ?? [];
    } catch {
      return [];
    }
  }

  #store() {
    try {
      if (this.waiting.length) localStorage.setItem(this.key, JSON.stringify(this.waiting));
      else localStorage.removeItem(this.key);
    } catch {
      // storage full or forbidden: the actions live as long as the page
    }
  }
}
