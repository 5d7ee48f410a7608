/** Markdown that grows. Blocks that can no longer change keep their identity, and only what comes
 * after them is read again. */
import { Lexer } from "marked";
import type { Token } from "marked";

export interface Block {
  key: number;
  token: Token;
  /** It will not change any more. */
  settled: boolean;
}

/** So few characters of a new block may still turn out to belong to the one before. */
const SURE = 6;

export class Incremental {
  private text = "";
  private start = 0;
  private settled: Block[] = [];
  private lexer = newLexer();
  blocks: Block[] = [];

  /** The blocks of `text`; `whole` when no more of it will come. */
  update(text: string, whole: boolean): Block[] {
    const given = text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
    if (!given.startsWith(this.text)) this.reset();
    this.text = given;
    let tail = given.slice(this.start);
    if (!whole) tail = closed(tail);
    const tokens = this.lex(tail);
    const last = lastSolid(tokens);
    const fresh: Block[] = [];
    let at = this.start;
    for (const [index, token] of tokens.entries()) {
      const key = at;
      at += token.raw.length;
      const sure = index < last && ((tokens[last]?.raw.trim().length ?? 0) > SURE || whole);
      if (sure) this.start = at;
      if (token.type === "space" || token.type === "def") continue;
      const block = { key, token, settled: sure || whole };
      if (sure) this.settled.push(block);
      else fresh.push(block);
    }
    this.blocks = [...this.settled, ...fresh];
    return this.blocks;
  }

  private lex(tail: string): Token[] {
    const { links } = this.lexer.tokens;
    this.lexer = newLexer();
    Object.assign(this.lexer.tokens.links, links);
    return this.lexer.lex(tail);
  }

  private reset(): void {
    this.start = 0;
    this.settled = [];
    this.lexer = newLexer();
  }
}

function newLexer(): Lexer {
  return new Lexer({ gfm: true, breaks: true });
}

function lastSolid(tokens: Token[]): number {
  for (let index = tokens.length - 1; index >= 0; index -= 1) {
    if (tokens[index]?.type !== "space") return index;
  }
  return -1;
}

/** An emphasis or a code span that is still being written looks as it will look. */
export function closed(tail: string): string {
  const from = tail.lastIndexOf("\n\n") + 1;
  const last = tail.slice(from);
  if ((tail.match(/^ {0,3}(```|~~~)/gm)?.length ?? 0) % 2 === 1) return tail;
  if (/^( {4}|\t)/.test(last) || !/\S$/.test(last)) return tail;
  if ((last.match(/`/g)?.length ?? 0) % 2 === 1) return last.endsWith("`") ? tail : `${tail}\``;
  if ((last.match(/\*\*/g)?.length ?? 0) % 2 === 1 && !last.endsWith("*")) return `${tail}**`;
  return tail;
}
