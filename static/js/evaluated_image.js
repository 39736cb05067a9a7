// One evaluated image: arrow keys go on, + relabels, a press on a score shows where that label is seen.
import { isTyping } from "./messages.js";

const KEYS = { ArrowLeft: "previous", ArrowRight: "next", Backspace: "back", "+": "accept", "=": "accept" };

document.addEventListener("keydown", (event) => {
  const id = KEYS[event.key];
  if (!id || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const target = document.getElementById(id);
  if (!target || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  target.click();
});

const heat = document.getElementById("heat");
const words = document.getElementById("heat-words");
heat?.addEventListener("error", () => {
  words.textContent = "This version cannot show where it looks.";
  heat.hidden = true;
});
if (heat?.complete && !heat.naturalWidth) heat.dispatchEvent(new Event("error"));
for (const button of document.querySelectorAll("[data-heat]")) {
  button.addEventListener("click", () => {
    if (!heat || heat.hidden) return;
    const label = button.dataset.heat;
    heat.src = `${heat.src.split("?")[0]}?label=${encodeURIComponent(label)}`;
    heat.alt = `What the model saw; where it found ${label} it glows`;
    words.querySelector("strong").textContent = label;
  });
}
