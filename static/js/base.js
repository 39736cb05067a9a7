// Shared by all pages: menus, dialogs, dismissible messages, error messages of requests, the list of keys.
import "./copy.js";
import "./typed.js";
import { dismiss, focusMessages, isTyping, say, show } from "./messages.js";

for (const box of document.querySelectorAll("#messages .message")) show(box);

document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target : null;
  if (!target) return;
  const message = target.closest("[data-dismiss]")?.closest(".message");
  if (message) dismiss(message);
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(target)) menu.open = false;
  }
  const opener = target.closest("[data-dialog-open]");
  if (opener) document.getElementById(opener.dataset.dialogOpen)?.showModal();
  const closer = target.closest("[data-dialog-close]");
  if (closer) closer.closest("dialog")?.close();
  if (target.closest("[data-keys-open]")) openKeys();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      menu.open = false;
      menu.querySelector("summary")?.focus();
    }
  }
  if (event.key === "F8") focusMessages();
  if (event.key === "?" && !isTyping(event.target)) openKeys();
});

// Pages list their keys in <template id="keys">; every page has `?` and Escape.
function openKeys() {
  let dialog = document.getElementById("keys-dialog");
  if (!dialog) {
    dialog = document.createElement("dialog");
    dialog.id = "keys-dialog";
    dialog.setAttribute("aria-labelledby", "keys-title");
    dialog.innerHTML =
      `<div class="dialog-head"><h2 id="keys-title">${gettext("Keys of this page")}</h2>` +
      `<button class="button button-quiet button-small" type="button" data-dialog-close>${gettext("Close")}</button></div>` +
      '<div class="dialog-body"><dl class="facts"></dl></div>';
    const list = dialog.querySelector("dl");
    const own = document.getElementById("keys");
    if (own) list.append(own.content.cloneNode(true));
    list.insertAdjacentHTML(
      "beforeend",
      `<dt><kbd>?</kbd></dt><dd>${gettext("This list")}</dd>` +
        `<dt><kbd>Esc</kbd></dt><dd>${gettext("Close a menu or dialog")}</dd>` +
        `<dt><kbd>F8</kbd></dt><dd>${gettext("Go to the messages")}</dd>`,
    );
    document.body.append(dialog);
  }
  for (const menu of document.querySelectorAll("details[data-menu][open]")) menu.open = false;
  if (!dialog.open) dialog.showModal();
}

// A fragment that asks again by itself says only once that it gets no answer, and takes that back when it gets one.
let poll = null;
const isPoll = ({ detail }) => !detail.requestConfig?.triggeringEvent && detail.elt?.getAttribute("hx-trigger")?.startsWith("every");

function sayOfPoll(text) {
  if (!poll?.isConnected) poll = say(text, "warning");
}

document.addEventListener("htmx:afterRequest", (event) => {
  if (!poll || !event.detail.successful) return;
  dismiss(poll);
  poll = null;
});

document.addEventListener("htmx:responseError", (event) => {
  const { status, responseText } = event.detail.xhr;
  if (isPoll(event) && status >= 500) {
    return sayOfPoll(gettext("The server does not answer at the moment. This page goes on by itself."));
  }
  const words = {
    403: gettext("Your role does not allow you to change this."),
    404: gettext("This no longer exists. Somebody may have deleted it. Reload the page."),
    429: gettext("Too many requests. Wait a moment and try again."),
  };
  const isSentence = status === 503 && event.detail.xhr.getResponseHeader("Content-Type")?.startsWith("text/plain");
  const other = gettext("The server could not do that (%(status)s). Nothing was changed. Try again.");
  say(words[status] ?? (isSentence ? responseText : interpolate(other, { status }, true)), "error");
});
document.addEventListener("htmx:sendError", (event) => {
  if (isPoll(event)) return sayOfPoll(gettext("The server does not answer at the moment. This page goes on by itself."));
  say(gettext("No connection to the server. Nothing was changed. Check the network and try again."), "error");
});
