// Thresholds page: sliders and number fields follow each other; the server computes the figures.

document.querySelector("[data-submits]")?.addEventListener("change", (event) => event.target.form.submit());

for (const share of document.querySelectorAll("[data-share]")) {
  const slider = share.querySelector("input[type=range]");
  const number = share.querySelector("input[type=number]");
  slider.hidden = false;
  slider.addEventListener("input", () => {
    number.value = slider.value;
  });
  number.addEventListener("input", () => {
    slider.value = number.value || 0;
  });
  share.querySelector("[data-own]")?.addEventListener("click", (event) => {
    number.value = event.currentTarget.dataset.own;
    number.dispatchEvent(new Event("input", { bubbles: true }));
  });
}
