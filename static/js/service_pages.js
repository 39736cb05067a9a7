import "./question_page.js";

// Collected calls: one box selects all calls of the page.
document.addEventListener("change", (event) => {
  const name = event.target.dataset?.allOf;
  if (!name) return;
  for (const box of document.querySelectorAll(`input[name="${name}"]`)) box.checked = event.target.checked;
});

// A batch starts once, however often its button is clicked.
document.addEventListener("submit", (event) => {
  if (!("once" in event.target.dataset)) return;
  if ("sent" in event.target.dataset) event.preventDefault();
  event.target.dataset.sent = "";
});
