// Runs one client's one case for each line of JSON on stdin; answers each with a line on stdout.
import { createInterface } from "node:readline";
import * as aisdk from "./aisdk.mjs";
import * as anthropic from "./anthropic.mjs";
import * as genai from "./genai.mjs";
import * as ollama from "./ollama.mjs";
import * as openai from "./openai.mjs";

const clients = { ...aisdk.clients, ...anthropic.clients, ...genai.clients, ...ollama.clients, ...openai.clients };

// What the vendors' libraries print must not stand among the answers.
const say = process.stdout.write.bind(process.stdout);
console.log = console.info = console.warn = console.error;

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let answer;
  try {
    const cases = await clients[asked.client]();
    answer = { value: await cases[asked.case](asked) };
  } catch (error) {
    answer = { error: described(error) };
  }
  say(JSON.stringify(answer) + "\n");
}

function described(error) {
  return {
    name: error?.constructor?.name ?? typeof error,
    status: error?.status ?? error?.statusCode ?? error?.status_code ?? null,
    message: String(error?.message ?? error),
  };
}
