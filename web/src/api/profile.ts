/** What the gateway keeps of whoever is signed in; how his pages look goes with him. */
import { setDatesLanguage } from "../ui/format";
import { applyTheme } from "../ui/theme";
import type { Theme } from "../ui/theme";
import { get, send } from "./http";

export interface Kept {
  display_name: string;
  email: string;
  /** "" was never chosen. */
  theme: Theme | "";
  language: string;
}

export async function readProfile(): Promise<Kept> {
  const kept = await get<Kept>("/profile");
  if (kept.theme) applyTheme(kept.theme);
  if (kept.language) setDatesLanguage(kept.language);
  return kept;
}

export function keep(part: Partial<Kept>): Promise<Kept> {
  return send<Kept>("POST", "/profile", part);
}
