// The live counter of a description; `/` goes to the search of the ExeML page.
// It imports nothing: under hashed names an import would load frame.js a second time, listeners and all.

for (const area of document.querySelectorAll("textarea[data-counted][maxlength]")) {
  const range = area.closest(".field")?.querySelector(".field-range");
  const count = () => {
    range.textContent = `${area.value.length} / ${area.maxLength}`;
  };
  if (range) {
    area.addEventListener("input", count);
    count();
  }
}

document.addEventListener("keydown", (event) => {
  const search = document.getElementById("search");
  const isTyping = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || !search || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  search.focus();
  search.select();
});
