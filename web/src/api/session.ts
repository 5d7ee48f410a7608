/** The token of this tab. It lives as long as the tab does, and never in an address. */
const KEY = "pointsman.token";

declare global {
  interface Window {
    /** Set by early.js where storage is forbidden. */
    pointsmanToken?: string;
  }
}

let held: string | null = null;

export function token(): string {
  if (held !== null) return held;
  try {
    held = sessionStorage.getItem(KEY) ?? window.pointsmanToken ?? "";
  } catch {
    held = window.pointsmanToken ?? "";
  }
  return held;
}

export function keepToken(given: string): void {
  held = given;
  try {
    if (given) sessionStorage.setItem(KEY, given);
    else sessionStorage.removeItem(KEY);
  } catch {
    // The variable above is enough for this page.
  }
}
