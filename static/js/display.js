// How numbers and shares read in the page's language: rounded half up, as exeml_site/lib/display.py does.

export const language = document.documentElement.lang || "en";

// A whole number with its groups of digits, or one with a fixed number of decimals.
export function number(value, decimals = 0) {
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return rounded(value, decimals).toLocaleString(language, digits);
}

// Half up by the decimal digits that one sees: 0.8625 is 0.863.
export function rounded(value, decimals) {
  if (Math.abs(value) < 1e-6) return 0;
  return Number(`${Math.floor(Number(`${value}e${decimals}`) + 0.5)}e-${decimals}`);
}

export function percent(share) {
  return `${points(share)} %`;
}

export function percentRange(low, high) {
  return `${points(low)}–${percent(high)}`;
}

function points(share) {
  return number(Number(`${rounded(share, 3)}e2`), 1);
}
