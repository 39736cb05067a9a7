// Sliders of the Thresholds page: text and dot follow the threshold, computed from counts in the page.

import { percent, percentRange } from "./display.js";

const Z = 1.959963984540054;

document.querySelector("[data-submits]")?.addEventListener("change", (event) => event.target.form.submit());

function rate(hits, support) {
  if (!support) return "of none";
  const share = hits / support;
  const z2 = Z * Z;
  const centre = share + z2 / (2 * support);
  const spread = Z * Math.sqrt((share * (1 - share)) / support + z2 / (4 * support * support));
  const scale = 1 + z2 / support;
  const low = hits ? Math.max(0, (centre - spread) / scale) : 0;
  const high = hits < support ? Math.min(1, (centre + spread) / scale) : 1;
  return `${percent(share)} (${percentRange(low, high)})`;
}

function images(count) {
  return count === 1 ? "1 image" : `${count.toLocaleString("en")} images`;
}

// `describe(index)` returns the text and the dot's position, [right, up] from 0 to 1, or null for no dot.
function follow(box, describe) {
  const slider = box.querySelector("input[type=range]");
  const output = box.querySelector("output");
  const dot = box.querySelector(".plot-dot");
  const show = () => {
    const [words, place] = describe(Number(slider.value));
    output.textContent = (Number(slider.value) / 100).toFixed(2);
    box.querySelector(".threshold-words").textContent = words;
    dot.toggleAttribute("hidden", !place);
    if (place) {
      dot.setAttribute("cx", 100 * place[0]);
      dot.setAttribute("cy", 100 * (1 - place[1]));
    }
  };
  slider.closest(".threshold-slider").hidden = false;
  slider.addEventListener("input", show);
  show();
}

const threshold = document.getElementById("threshold");
if (threshold) {
  const points = JSON.parse(threshold.dataset.points);
  const label = threshold.dataset.label;
  const carried = points[0][0];
  follow(threshold, (index) => {
    const [hits, named] = points[index];
    const words =
      `${images(named)} would be named ${label}, ${hits} of them rightly: precision ${rate(hits, named)}. ` +
      `Of ${images(carried)} that carry it ${hits} would be found: recall ${rate(hits, carried)}. ` +
      `${named - hits} false alarms, ${carried - hits} missed.`;
    return [words, named && carried ? [hits / carried, hits / named] : null];
  });
}

const coverage = document.getElementById("coverage");
if (coverage) {
  const points = JSON.parse(coverage.dataset.points);
  const total = points[0][1];
  follow(coverage, (index) => {
    const [right, answered] = points[index];
    const words =
      `${answered} of ${images(total)} would be answered (${percent(answered / total)}), ` +
      `${right} of them rightly: ${rate(right, answered)}.`;
    return [words, answered ? [answered / total, right / answered] : null];
  });
}
