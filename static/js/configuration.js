// Training Configuration: updates the validation ratio while typing; marks fields as the server judges them; takes a
// suggested time; focuses the first invalid field.

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

// The errors of a field have come from the server.
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  const errors = document.getElementById(detail.target.id);
  const field = document.getElementById(errors?.dataset.field);
  if (!field) return;
  const isInvalid = errors.querySelector(".field-error") !== null;
  if (isInvalid) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
  const described = new Set((field.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean));
  described[isInvalid ? "add" : "delete"](errors.id);
  field.setAttribute("aria-describedby", [...described].join(" "));
});

document.addEventListener("click", ({ target }) => {
  const hours = target.closest?.("[data-hours]")?.dataset.hours;
  if (!hours) return;
  const field = document.getElementById("id_max_training_hours");
  field.value = hours;
  field.focus();
  for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, { bubbles: true }));
});

document.querySelector("#configuration [aria-invalid=true]")?.focus();
