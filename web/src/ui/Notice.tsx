/** An error where it happened: what went wrong, and what to do. */
import type { ReactNode } from "react";
import type { Told } from "../api/http";
import { Warn } from "./icons";

const ADVICE: Record<string, string> = {
  unreached: "Start it with “make run”, or wait until the network is back.",
  not_identified: "Sign in again, with a token that is valid.",
  not_allowed: "Ask an administrator for what this needs.",
  model_not_found: "Choose another model.",
  rate_limited: "Wait a moment, then ask again.",
  quota: "The budget is used up. An administrator can raise it under App codes.",
  overloaded: "Ask again in a moment, or choose another model.",
  upstream_auth: "The provider refuses the gateway’s key. An administrator sets it under Settings.",
  upstream_error: "Ask again, or retry elsewhere.",
  upstream_refused: "Nobody answers at the provider’s address. Retry elsewhere, or start it.",
  timeout: "It took too long. Ask again, or retry elsewhere.",
  too_large: "Shorten the question, or begin a new conversation.",
};

export function advice(error: Told): string {
  if (error.retryAfter) return `Ask again in ${Math.ceil(error.retryAfter)} s.`;
  return ADVICE[error.kind] ?? (error.retryable ? "Ask again." : "");
}

export function Notice({ error, children }: { error: Told; children?: ReactNode }) {
  const what = advice(error);
  return (
    <div className="notice bad" role="alert">
      <Warn />
      <div>
        <p>{error.message}</p>
        {what && <p className="hint">{what}</p>}
      </div>
      {children}
    </div>
  );
}
