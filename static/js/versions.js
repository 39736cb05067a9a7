// The confirmation of Stop and Delete opens as a dialog that Cancel closes; without a script it is a page.
// On a narrow screen the cards and the tabs are in rows, which are scrolled to the selected one.

const dialog = document.getElementById("question-dialog");

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target?.id === "question" && dialog && !dialog.open) dialog.showModal();
});

function scrollTo(row, chosen) {
  if (!row || !chosen) return;
  const left = chosen.getBoundingClientRect().left - row.getBoundingClientRect().left + row.scrollLeft;
  row.scrollLeft = left - (row.clientWidth - chosen.offsetWidth) / 2;
}

const cards = document.querySelector(".versions-scroll");
scrollTo(cards, cards?.querySelector(".is-chosen"));
const tabs = document.querySelector(".version-tabs");
scrollTo(tabs, tabs?.querySelector("[aria-current]"));

dialog?.addEventListener("click", (event) => {
  if (event.target instanceof Element && event.target.closest("a[data-dialog-close]")) event.preventDefault();
});
