/** A prompt with its words coloured by what each does to the score. */
import { useEffect, useState } from "react";
import { send, told } from "../api/http";
import type { Told } from "../api/http";
import { number } from "../ui/format";
import { Junction } from "../ui/Junction";
import { Notice } from "../ui/Notice";

interface Moved {
  moves: number;
}

interface Explanation {
  score: number;
  tier: string;
  threshold: number;
  words: (Moved & { text: string; at: number })[];
  features: (Moved & { name?: string; feature?: string; value?: number; usual?: number })[];
  views: (Moved & { view: string; is: string })[];
}

interface Explained {
  tier: string;
  score: number;
  domain: string | null;
  explanation?: Explanation;
}

const EXAMPLE = "Prove that there are infinitely many primes of the form 4k + 3.";

/** `given` is a prompt that was chosen elsewhere on the page. */
export function Explain({ given }: { given: string }) {
  const [text, setText] = useState(given);
  const [asked, setAsked] = useState("");
  const [found, setFound] = useState<Explained | null>(null);
  const [error, setError] = useState<Told | null>(null);
  const [busy, setBusy] = useState(false);
  const explain = async () => {
    const message = text.trim() || EXAMPLE;
    setText(message);
    setError(null);
    setBusy(true);
    try {
      setFound(await send<Explained>("POST", "/routing/explain", { message }));
      setAsked(message);
    } catch (fault) {
      setError(told(fault));
      setFound(null);
    }
    setBusy(false);
  };
  // It is another one of these for each prompt that is given.
  useEffect(() => {
    if (given) void explain();
  }, []);
  return (
    <form
      className="form"
      onSubmit={(event) => {
        event.preventDefault();
        void explain();
      }}
    >
      <textarea
        rows={2}
        value={text}
        placeholder={EXAMPLE}
        aria-label="A prompt to explain"
        onChange={(event) => setText(event.target.value)}
      />
      <div className="acts">
        <button type="submit" className="button" disabled={busy}>
          Explain
        </button>
        <span className="hint">Each word is left out in turn, and the prompt is scored again.</span>
      </div>
      {error && <Notice error={error} />}
      {found && <Said found={found} text={asked} />}
    </form>
  );
}

function Said({ found, text }: { found: Explained; text: string }) {
  const why = found.explanation;
  return (
    <div className={`panel tier-${found.tier}`} role="status">
      <p className="doing">
        <Junction tier={found.tier} />
        <span>
          Score <strong className="num">{number(found.score, 3)}</strong>
          {why && <> against {number(why.threshold, 2)}</>}: the{" "}
          <strong className="tier-word">{found.tier}</strong> line
          {found.domain && <>, {found.domain}</>}
        </span>
      </p>
      {why && <p className="moved">{coloured(text, why.words)}</p>}
      {why && (
        <div className="grid-box">
          <table className="plain">
            <thead>
              <tr>
                <th>What else counts</th>
                <th className="n">Here</th>
                <th className="n">Usually</th>
                <th className="n">Moves it by</th>
              </tr>
            </thead>
            <tbody>
              {why.features.map((one, at) => (
                <tr key={at}>
                  <td>{plain(one.name ?? one.feature ?? "")}</td>
                  <td className="n">{number(one.value, 2)}</td>
                  <td className="n">{number(one.usual, 2)}</td>
                  <td className="n">{signed(one.moves)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}

const SIGNS: Record<string, string> = {
  digit: "digits",
  letter: "letters",
  space: "spaces",
  newline: "line breaks",
  stop: "full stops",
  comma: "commas",
  question: "question marks",
  exclaim: "exclamation marks",
  quote: "quotation marks",
  round: "round brackets",
  bracket: "brackets",
  operator: "operators",
  dollar: "dollar signs",
  backslash: "backslashes",
};

/** words_proof -> proof words, share_digit -> share of digits, log_words -> number of words */
function plain(name: string): string {
  return name
    .replace(/^words_(.+)/, "$1 words")
    .replace(/^share_(.+)/, (_, sign: string) => `share of ${SIGNS[sign] ?? sign}`)
    .replace(/^log_/, "number of ")
    .replaceAll("_", " ");
}

function signed(value: number): string {
  return `${value > 0 ? "+" : value < 0 ? "−" : ""}${number(Math.abs(value), 3)}`;
}

/** Green towards the local line, orange towards the strong one; the stronger, the deeper. */
function coloured(text: string, words: Explanation["words"]): React.ReactNode[] {
  const most = Math.max(...words.map((one) => Math.abs(one.moves)), 1e-6);
  const parts: React.ReactNode[] = [];
  let from = 0;
  for (const word of [...words].sort((a, b) => a.at - b.at)) {
    if (word.at < from) continue;
    if (word.at > from)
      parts.push(<span key={`before ${word.at}`}>{text.slice(from, word.at)}</span>);
    const much = Math.round((Math.abs(word.moves) / most) * 45);
    parts.push(
      <span
        key={word.at}
        className={word.moves < 0 ? "to-strong" : "to-local"}
        style={{ "--much": much } as React.CSSProperties}
        title={signed(word.moves)}
      >
        {text.slice(word.at, word.at + word.text.length)}
      </span>,
    );
    from = word.at + word.text.length;
  }
  if (from < text.length) parts.push(<span key="rest">{text.slice(from)}</span>);
  return parts;
}
