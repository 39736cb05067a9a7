// The live character counter of a description; `/` focuses the search of the project list.
import { number } from "./display.js";
import { isTyping } from "./messages.js";

for (const area of document.querySelectorAll("textarea[data-counted]")) {
  const range = area.closest(".field")?.querySelector(".field-range");
  const count = () => {
    range.textContent = `${number(area.value.length)} / ${number(Number(area.dataset.counted))}`;
  };
  if (range) {
    area.addEventListener("input", count);
    count();
  }
}

document.addEventListener("keydown", (event) => {
  const search = document.getElementById("search");
  if (event.key !== "/" || !search || isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  search.focus();
  search.select();
});
