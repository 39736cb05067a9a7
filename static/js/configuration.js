// Training Configuration: updates the validation ratio while typing; focuses the first invalid field.

const ratio = document.getElementById("id_training_ratio");
const rest = document.getElementById("validation-ratio");

// Computed with integers, so that 1 - 0.8 is 0.2 and not 0.19999999999999996.
export function validationRatio(text) {
  const digits = /^0?\.([0-9]{1,5})$/.exec(text.trim())?.[1];
  if (!digits || Number(digits) === 0) return "–";
  return `0.${String(10 ** digits.length - Number(digits)).padStart(digits.length, "0")}`;
}

ratio?.addEventListener("input", () => {
  rest.textContent = validationRatio(ratio.value);
});

document.querySelector("#configuration [aria-invalid=true]")?.focus();
