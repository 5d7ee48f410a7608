/** Requests to the gateway, with the token, and its errors in plain words. */
import { token } from "./session";

export interface Told {
  message: string;
  kind: string;
  code?: string | null;
  param?: string | null;
  retryAfter?: number | null;
  retryable?: boolean;
}

/** What the gateway, or the way to it, said no with. */
export class GatewayError extends Error {
  readonly status: number;
  readonly told: Told;

  constructor(status: number, told: Told) {
    super(told.message);
    this.name = "GatewayError";
    this.status = status;
    this.told = told;
  }
}

export const UNREACHED: Told = {
  kind: "unreached",
  message: "The gateway did not answer. Is it running, and is this machine online?",
  retryable: true,
};

export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const held = token();
  if (held) headers.set("Authorization", `Bearer ${held}`);
  if (!headers.has("Accept")) headers.set("Accept", "application/json");
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, credentials: "omit", redirect: "error" });
  } catch (fault) {
    if (fault instanceof DOMException && fault.name === "AbortError") throw fault;
    throw new GatewayError(0, UNREACHED);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return json<T>(await ask(path, signal ? { signal } : {}));
}

export async function send<T>(method: "POST" | "DELETE", path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "Content-Type": "application/json" };
  }
  return json<T>(await ask(path, init));
}

async function json<T>(response: Response): Promise<T> {
  if (response.status === 204) return undefined as T;
  try {
    return (await response.json()) as T;
  } catch {
    throw new GatewayError(response.status, {
      kind: "bad_answer",
      message: "The gateway's answer was not JSON. A proxy on the way may have replaced it.",
    });
  }
}

async function refusal(response: Response): Promise<GatewayError> {
  let body: unknown = null;
  try {
    body = await response.json();
  } catch {
    // A proxy's page, for one.
  }
  const told = toldIn(body);
  if (told) return new GatewayError(response.status, told);
  return new GatewayError(response.status, {
    kind: "http",
    message: `The answer was HTTP ${response.status}, without a reason.`,
  });
}

/** The error of a body of ours, or of OpenAI's. */
export function toldIn(body: unknown): Told | null {
  if (typeof body !== "object" || body === null) return null;
  const found = "error" in body ? (body as { error: unknown }).error : null;
  if (typeof found === "string") return { message: found, kind: "error" };
  if (typeof found !== "object" || found === null) return null;
  const error = found as Record<string, unknown>;
  if (typeof error.message !== "string") return null;
  return {
    message: error.message,
    kind: typeof error.type === "string" ? error.type : "error",
    code: typeof error.code === "string" ? error.code : null,
    param: typeof error.param === "string" ? error.param : null,
    retryAfter: typeof error.retry_after === "number" ? error.retry_after : null,
  };
}

export function told(fault: unknown): Told {
  if (fault instanceof GatewayError) return fault.told;
  const message = fault instanceof Error ? fault.message : String(fault);
  return { kind: "page", message };
}

export function isMissing(fault: unknown): boolean {
  return fault instanceof GatewayError && (fault.status === 404 || fault.status === 501);
}

export function isForbidden(fault: unknown): boolean {
  return fault instanceof GatewayError && (fault.status === 401 || fault.status === 403);
}
