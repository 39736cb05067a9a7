// The confirmation of Stop and Delete opens as a dialog that Cancel closes; without a script it is a page.
// On a narrow screen the cards are in a row, which is scrolled to the selected one.

const dialog = document.getElementById("question-dialog");

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target?.id === "question" && dialog && !dialog.open) dialog.showModal();
});

const cards = document.querySelector(".versions-scroll");
const chosen = cards?.querySelector(".is-chosen");
if (cards && chosen) cards.scrollLeft = chosen.offsetLeft - (cards.clientWidth - chosen.offsetWidth) / 2;

dialog?.addEventListener("click", (event) => {
  if (event.target instanceof Element && event.target.closest("a[data-dialog-close]")) event.preventDefault();
});
