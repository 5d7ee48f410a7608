/** Code in a few colours: comments, strings, numbers, keywords. It reads no grammar, and so is
 * right often enough for every language at once. */
import type { ReactNode } from "react";

const WORDS = new Set(
  `abstract and as assert async await begin bool break case catch char class const continue crate def
  default defer del delete do double elif else elsif end enum except export extends extern false finally
  float fn for foreach from func function go goto if impl implements import in include instanceof int
  interface is lambda let long loop match mod module move mut namespace new nil none None nonlocal not
  null of or package pass private protected pub public raise ref return select self short static str
  string struct super switch template then this throw throws trait true True False try type typedef
  typeof undefined union unless unsafe until use using var void when where while with yield
  SELECT FROM WHERE INSERT INTO VALUES UPDATE SET DELETE CREATE TABLE JOIN LEFT RIGHT INNER OUTER ON
  GROUP BY ORDER LIMIT AS AND OR NOT NULL PRIMARY KEY DISTINCT HAVING UNION ALL`.split(/\s+/),
);
const HASH =
  /^(py|python|rb|ruby|sh|bash|zsh|shell|yaml|yml|toml|ini|dockerfile|make|makefile|perl|r|nix)$/i;
const DASHES = /^(sql|lua|haskell|hs|elm|ada)$/i;
const PLAIN = /^(text|txt|markdown|md|diff|)$/i;
const LONGEST = 60_000;

export function coloured(code: string, language: string): ReactNode {
  if (PLAIN.test(language) || code.length > LONGEST) return code;
  const comment = HASH.test(language)
    ? "#[^\\n]*"
    : DASHES.test(language)
      ? "--[^\\n]*"
      : "\\/\\/[^\\n]*|\\/\\*[\\s\\S]*?\\*\\/|<!--[\\s\\S]*?-->";
  const pattern = new RegExp(
    `(${comment})|("""[\\s\\S]*?"""|'''[\\s\\S]*?'''|"(?:\\\\.|[^"\\\\\\n])*"|'(?:\\\\.|[^'\\\\\\n])*'|\`(?:\\\\.|[^\`\\\\])*\`)|\\b(0x[\\da-fA-F_]+|\\d[\\d_]*(?:\\.\\d+)?(?:[eE][+-]?\\d+)?)\\b|([A-Za-z_$][\\w$]*)(\\s*\\()?`,
    "g",
  );
  const parts: ReactNode[] = [];
  let from = 0;
  for (const found of code.matchAll(pattern)) {
    const kind = kindOf(found);
    if (!kind) continue;
    const [whole] = found;
    const text = found[4] ?? whole;
    if (found.index > from) parts.push(code.slice(from, found.index));
    parts.push(
      <span key={found.index} className={`tok-${kind}`}>
        {text}
      </span>,
    );
    from = found.index + text.length;
  }
  parts.push(code.slice(from));
  return parts;
}

function kindOf(found: RegExpMatchArray): string | null {
  if (found[1]) return "comment";
  if (found[2]) return "string";
  if (found[3]) return "number";
  if (found[4] && WORDS.has(found[4])) return "word";
  return found[5] ? "call" : null;
}
