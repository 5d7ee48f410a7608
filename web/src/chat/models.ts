/** The models that may be asked, as GET /v1/models lists them: routes first. */
import { useSyncExternalStore } from "react";
import { get, told } from "../api/http";
import type { Told } from "../api/http";

export interface Model {
  id: string;
  owner: string;
  context: number | null;
  vision: boolean;
}

export interface Models {
  all: Model[];
  error: Told | null;
}

interface Listing {
  data: { id: string; owned_by: string; context_length?: number | null; capabilities?: string[] }[];
}

const ROUTES_OWNER = "pointsman";
let found: Models = {
  all: [{ id: "auto", owner: ROUTES_OWNER, context: null, vision: true }],
  error: null,
};
const watchers = new Set<() => void>();

export async function loadModels(): Promise<void> {
  try {
    const { data } = await get<Listing>("/v1/models");
    const all = data.map((one) => ({
      id: one.id,
      owner: one.owned_by,
      context: one.context_length ?? null,
      vision: one.capabilities?.includes("vision") ?? false,
    }));
    const auto = all.filter((one) => one.id === "auto");
    found = { all: [...auto, ...all.filter((one) => one.id !== "auto")], error: null };
  } catch (fault) {
    found = { ...found, error: told(fault) };
  }
  for (const watcher of watchers) watcher();
}

export function useModels(): Models {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => found,
  );
}

export function isRoute(model: Model): boolean {
  return model.owner === ROUTES_OWNER;
}
