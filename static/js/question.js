// A question in the dialog #question-dialog. Resolves with true if it is answered with the button `yes`.
export function ask({ title, text, yes }) {
  const dialog = document.getElementById("question-dialog");
  document.getElementById("question-title").textContent = title;
  document.getElementById("question-text").textContent = text;
  document.getElementById("question-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
