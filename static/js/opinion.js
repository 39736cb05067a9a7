// Keys of second opinions: a label's key selects it, Enter is OK, the right arrow is Skip.
import { isTyping } from "./messages.js";

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const form = document.querySelector("#opinion form");
  if (!form) return;
  const choice = form.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (choice) choice.click();
  else if (event.key === "ArrowRight") form.querySelector("[data-skip]").click();
  else if (event.key === "Enter" && !event.target.closest("button, a")) form.requestSubmit();
  else return;
  event.preventDefault();
});
