// One evaluated image: arrow keys show the next, + relabels, a click on a score shows that label's heat map.
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
  words.textContent = gettext("This version has no heat maps.");
  heat.hidden = true;
});
if (heat?.complete && !heat.naturalWidth) heat.dispatchEvent(new Event("error"));
for (const button of document.querySelectorAll("[data-heat]")) {
  button.addEventListener("click", () => {
    if (!heat || heat.hidden) return;
    const label = button.dataset.heat;
    heat.src = `${heat.src.split("?")[0]}?label=${encodeURIComponent(label)}`;
    heat.alt = interpolate(gettext("Heat map: evidence for “%(label)s”"), { label }, true);
    words.querySelector("strong").textContent = label;
  });
}
