// On a narrow screen the cards and the tabs are in rows, which are scrolled to the selected one.
import "./question_page.js";
import "./training_notice.js";

function scrollTo(row, chosen) {
  if (!row || !chosen) return;
  const left = chosen.getBoundingClientRect().left - row.getBoundingClientRect().left + row.scrollLeft;
  row.scrollLeft = left - (row.clientWidth - chosen.offsetWidth) / 2;
}

const cards = document.querySelector(".versions-scroll");
scrollTo(cards, cards?.querySelector(".is-chosen"));
const tabs = document.querySelector(".version-tabs");
scrollTo(tabs, tabs?.querySelector("[aria-current]"));
