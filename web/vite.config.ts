import type { IncomingMessage } from "node:http";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { finish } from "./build/finish.ts";

const GATEWAY = process.env.GATEWAY ?? "http://127.0.0.1:8080";
/** What `npm run dev` hands on to a running gateway. */
const DOORS =
  "^/(v1|api|chat|complete|models|health|healthz|readyz|metrics|ws|monitoring/.+|routing.*|codes|usage|settings|profile|jobs|feedback|docs|openapi.json|swagger)(/|\\?|$)";

const proxy = {
  [DOORS]: {
    target: GATEWAY,
    ws: true,
    // A page of ours and a door of the gateway may have one address.
    bypass: (request: IncomingMessage) =>
      request.headers.accept?.includes("text/html") ? "/index.html" : undefined,
  },
};

export default defineConfig({
  plugins: [react(), finish()],
  build: {
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    manifest: true,
  },
  server: { host: "127.0.0.1", proxy },
  // The built page under the rule that the gateway sends it with.
  preview: {
    host: "127.0.0.1",
    proxy,
    headers: { "Content-Security-Policy": "default-src 'self'" },
  },
  test: { environment: "jsdom", include: ["tests/**/*.test.{ts,tsx}"] },
});
