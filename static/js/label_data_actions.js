// Deeds on their way to the server: one after the other, kept in the browser until the server has them.
// A lost connection or an ended session shows as a banner; the deeds wait, also over a reload, and are sent in order.

// Signing in again in another tab makes a new token: the cookie has it, this page does not.
const token = () => /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1];

const RETRY_MS = [1000, 2000, 5000, 10_000];

export class Deeds {
  onAnswer = () => {}; // (html, status, isLast)
  onRefused = () => {}; // (deed, sentence)

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

  // True when the deed is dealt with and the next may go.
  async #sendFirst() {
    const deed = this.waiting[0];
    const answer = await this.#request(deed);
    if (answer === null || answer.status >= 500) return this.#later("away");
    const html = await answer.text();
    if (answer.isSignIn || html.includes("data-too-old")) return this.#later("signed-out");
    this.state = "connected";
    this.failures = 0;
    this.waiting.shift();
    this.#store();
    if (answer.status === 403 || answer.status === 404) {
      this.onRefused(deed, answer.status === 403 ? "Your role does not allow it." : "It is not there any more.");
    } else this.onAnswer(html, answer.status, this.waiting.length === 0, deed);
    return true;
  }

  async #request(deed) {
    const body = new URLSearchParams();
    for (const [name, value] of Object.entries(deed.values)) {
      for (const one of [value].flat()) body.append(name, one);
    }
    const headers = { "HX-Request": "true", "HX-Current-URL": location.href, "X-CSRFToken": token() ?? this.csrf };
    try {
      const response = await fetch(`${deed.url}?${deed.query}`, { method: "POST", headers, body });
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
    const changes = count === 1 ? "1 change waits" : `${count.toLocaleString("en")} changes wait`;
    const words = {
      away: `No connection to the server. ${changes} in this browser and will be sent when it returns. Go on.`,
      "signed-out": `You are signed out. ${changes} in this browser until you sign in again.`,
    };
    const line = banner.querySelector("[data-connection-words]");
    if (!banner.hidden && line.textContent !== words[this.state]) line.textContent = words[this.state];
    banner.querySelector("[data-connection-sign-in]").hidden = this.state !== "signed-out";
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
      // a full or forbidden storage: they live as long as the page
    }
  }
}
