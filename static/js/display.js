// How shares read: rounded to three decimals, half up, as exeml_site/lib/display.py does.

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
  return Number(`${rounded(share, 3)}e2`).toFixed(1);
}
