// The question before Stop and Delete: the answer of the link opens as a dialog; Cancel closes it.

const dialog = document.getElementById("question-dialog");

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target?.id === "question" && dialog && !dialog.open) dialog.showModal();
});

dialog?.addEventListener("click", (event) => {
  if (event.target instanceof Element && event.target.closest("a[data-dialog-close]")) event.preventDefault();
});
