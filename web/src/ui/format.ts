/** Numbers, times and money as people read them. What nobody knows is a dash, never a zero. */
const KEY = "pointsman.dates";
const DASH = "–";

let language = stored();

function stored(): string | undefined {
  try {
    return localStorage.getItem(KEY) ?? undefined;
  } catch {
    return undefined;
  }
}

export function datesLanguage(): string {
  return language ?? "";
}

export function setDatesLanguage(given: string): void {
  language = given || undefined;
  try {
    if (given) localStorage.setItem(KEY, given);
    else localStorage.removeItem(KEY);
  } catch {
    // It holds for this page at least.
  }
}

export function isLanguage(given: string): boolean {
  try {
    return Intl.DateTimeFormat.supportedLocalesOf(given).length > 0;
  } catch {
    return false;
  }
}

export function number(value: number | null | undefined, digits = 0): string {
  if (value == null || !Number.isFinite(value)) return DASH;
  return value.toLocaleString(language, {
    maximumFractionDigits: digits,
    minimumFractionDigits: 0,
  });
}

/** 0.123 -> 0.12, 12.3 -> 12, 1234 -> 1.2K */
export function short(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return DASH;
  if (Math.abs(value) >= 10_000) {
    return value.toLocaleString(language, { notation: "compact", maximumFractionDigits: 1 });
  }
  return value.toLocaleString(language, { maximumSignificantDigits: value >= 100 ? 4 : 2 });
}

export function ms(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return DASH;
  if (value < 10) return `${number(value, 1)} ms`;
  if (value < 1000) return `${number(value)} ms`;
  if (value < 60_000) return `${number(value / 1000, value < 10_000 ? 2 : 1)} s`;
  return `${number(Math.floor(value / 60_000))} min ${number(Math.round((value % 60_000) / 1000))} s`;
}

export function share(value: number | null | undefined, digits = 0): string {
  if (value == null || !Number.isFinite(value)) return DASH;
  return value.toLocaleString(language, { style: "percent", maximumFractionDigits: digits });
}

export function money(amount: string | number | null | undefined, currency = "USD"): string {
  if (amount == null || amount === "") return DASH;
  const value = Number(amount);
  if (!Number.isFinite(value)) return DASH;
  const small = value !== 0 && Math.abs(value) < 0.1;
  return value.toLocaleString(language, {
    style: "currency",
    currency,
    currencyDisplay: "narrowSymbol",
    ...(small ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: 2 }),
  });
}

type When = number | string | null | undefined;

/** Seconds since 1970, milliseconds, or an ISO date. */
function dateOf(when: When): Date | null {
  if (when == null || when === "") return null;
  const date = new Date(typeof when === "number" ? (when < 1e11 ? when * 1000 : when) : when);
  return Number.isNaN(date.getTime()) ? null : date;
}

export function time(when: When): string {
  return (
    dateOf(when)?.toLocaleTimeString(language, {
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    }) ?? DASH
  );
}

export function date(when: When): string {
  return (
    dateOf(when)?.toLocaleDateString(language, {
      day: "numeric",
      month: "short",
      year: "numeric",
    }) ?? DASH
  );
}

/** A day, without its year; `when` is an ISO date. */
export function dayMonth(when: string): string {
  const options = { day: "numeric", month: "short", timeZone: "UTC" } as const;
  return dateOf(when)?.toLocaleDateString(language, options) ?? DASH;
}

export function dateTime(when: When): string {
  return (
    dateOf(when)?.toLocaleString(language, {
      day: "numeric",
      month: "short",
      hour: "2-digit",
      minute: "2-digit",
    }) ?? DASH
  );
}

export function ordinal(value: number): string {
  const rule = new Intl.PluralRules("en", { type: "ordinal" }).select(value);
  return `${value}${{ one: "st", two: "nd", few: "rd" }[rule as string] ?? "th"}`;
}

export function plural(count: number, word: string, many = `${word}s`): string {
  return `${number(count)} ${count === 1 ? word : many}`;
}
