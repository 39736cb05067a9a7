// Copy buttons: each names the element whose text it copies.
import { say } from "./messages.js";

// The Clipboard API exists only on https and localhost.
async function copy(element) {
  if (navigator.clipboard) return navigator.clipboard.writeText(element.innerText.trim());
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
