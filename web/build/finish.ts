/** After the bundle: Swagger UI's files beside it, and a packed twin of each text file, which the
 * server sends to whoever takes it. */
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { constants, brotliCompressSync, gzipSync } from "node:zlib";
import type { Plugin } from "vite";

const SWAGGER = ["swagger-ui.css", "swagger-ui-bundle.js", "LICENSE"];
const PACKED = /\.(js|css|html|svg|json)$/;
const WORTH_PACKING = 1024;

export function finish(): Plugin {
  let out = "dist";
  return {
    name: "pointsman-finish",
    apply: "build",
    configResolved(config) {
      out = join(config.root, config.build.outDir);
    },
    closeBundle() {
      const from = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
      mkdirSync(join(out, "swagger"), { recursive: true });
      for (const name of SWAGGER) copyFileSync(join(from, name), join(out, "swagger", name));
      for (const path of filesIn(out)) if (PACKED.test(path)) pack(path);
    },
  };
}

function* filesIn(folder: string): Generator<string> {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* filesIn(path);
    else yield path;
  }
}

function pack(path: string): void {
  const body = readFileSync(path);
  if (body.length < WORTH_PACKING) return;
  writeFileSync(`${path}.gz`, gzipSync(body, { level: 9 }));
  const quality = { [constants.BROTLI_PARAM_QUALITY]: 10 };
  writeFileSync(`${path}.br`, brotliCompressSync(body, { params: quality }));
}
