// Collected: one box selects all of the page.
document.addEventListener("change", (event) => {
  const name = event.target.dataset?.allOf;
  if (!name) return;
  for (const box of document.querySelectorAll(`input[name="${name}"]`)) box.checked = event.target.checked;
});
