/** Before the first question. */
const STARTERS = [
  "Name three colours of the evening sky.",
  "Write a polite reply that moves a meeting to Friday.",
  "Prove that there are infinitely many primes of the form 4k + 3.",
  "Find the race in this code: if (!cache[k]) cache[k] = await load(k); return cache[k].",
];

export function Hello({ missing, onAsk }: { missing: boolean; onAsk: (text: string) => void }) {
  return (
    <div className="scroll">
      <div className="hello">
        <Yard />
        <h1>
          {missing ? "That conversation is not in this browser" : "Where should this one go?"}
        </h1>
        <p>
          {missing
            ? "Conversations are kept in the browser they were held in. Ask something new below."
            : "Easy questions take the local line, hard ones the strong line. Each answer says which way it came, and why."}
        </p>
        <div className="starters">
          {STARTERS.map((text) => (
            <button type="button" key={text} onClick={() => onAsk(text)}>
              {text}
            </button>
          ))}
        </div>
      </div>
    </div>
  );
}

/** A line that divides in two, with a signal where it does. */
function Yard() {
  return (
    <svg
      className="yard"
      viewBox="0 0 560 110"
      aria-hidden="true"
      fill="none"
      strokeLinecap="round"
      strokeWidth="3"
    >
      <path d="M4 70H150C215 70 215 26 280 26H556" stroke="var(--strong)" />
      <path d="M4 70H556" stroke="var(--local)" />
      <g fill="var(--paper)" strokeWidth="2.5">
        <circle cx="40" cy="70" r="6" stroke="var(--ink)" />
        <circle cx="120" cy="70" r="6" stroke="var(--ink)" />
        <circle cx="350" cy="26" r="6" stroke="var(--strong)" />
        <circle cx="490" cy="26" r="6" stroke="var(--strong)" />
        <circle cx="300" cy="70" r="6" stroke="var(--local)" />
        <circle cx="440" cy="70" r="6" stroke="var(--local)" />
      </g>
    </svg>
  );
}
