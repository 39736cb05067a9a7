// On a narrow screen the cards are in a row, which is scrolled to the selected one.
import "./question_page.js";

const cards = document.querySelector(".versions-scroll");
const chosen = cards?.querySelector(".is-chosen");
if (cards && chosen) cards.scrollLeft = chosen.offsetLeft - (cards.clientWidth - chosen.offsetWidth) / 2;
