// A question loaded into #question opens as the dialog #question-dialog; without a script it is a page.
const dialog = document.getElementById("question-dialog");

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target?.id === "question" && dialog && !dialog.open) dialog.showModal();
});

dialog?.addEventListener("click", (event) => {
  if (event.target instanceof Element && event.target.closest("a[data-dialog-close]")) event.preventDefault();
});

// An answer that is swapped in behind the dialog closes it.
dialog?.addEventListener("htmx:afterRequest", (event) => {
  const form = event.target instanceof Element && event.target.closest("form");
  if (event.detail.successful && form && form.getAttribute("hx-target") !== "this") dialog.close();
});
