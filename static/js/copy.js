// What a page shows once, such as a token: copied by a button, and not asked for again by a reload.
import { say } from "./messages.js";

// The Clipboard API exists only on https and localhost.
async function copy(element) {
  if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent);
  getSelection().selectAllChildren(element);
  if (!document.execCommand("copy")) throw new Error("refused");
}

document.addEventListener("click", async (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-copy]") : null;
  if (!button) return;
  const word = button.querySelector("[data-copy-word]");
  try {
    await copy(document.getElementById(button.dataset.copy));
    word.textContent = gettext("Copied");
    setTimeout(() => (word.textContent = pgettext("button", "Copy")), 2000);
  } catch {
    say(gettext("The browser does not allow copying here. Select the text and copy it by hand."), "error");
  }
});

// The page with a new token answers a POST: a reload must show the page, not make another token.
const settled = document.querySelector("[data-settle-at]")?.dataset.settleAt;
if (settled) history.replaceState(null, "", settled);
