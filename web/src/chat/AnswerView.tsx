/** One answer: what happens before it, what it says, where it came from, and what to do with it. */
import { memo, useEffect, useState } from "react";
import { told } from "../api/http";
import type { Told } from "../api/http";
import type { Status } from "../api/protocol";
import { money, ms, number, ordinal } from "../ui/format";
import { Again, Chevron, Down, Elsewhere, Swap, Up } from "../ui/icons";
import { Junction } from "../ui/Junction";
import { Notice } from "../ui/Notice";
import { rate } from "./asking";
import { CopyButton, Markdown } from "./Markdown";
import type { Answer, Rating } from "./model";
import { isOpen } from "./model";
import { ModelPicker } from "./ModelPicker";
import { Why } from "./Why";

interface Props {
  conversation: string;
  answer: Answer;
  json: boolean;
  version: number;
  versions: number;
  onVersion: (version: number) => void;
  onAgain: (model: string) => void;
}

export const AnswerView = memo(function AnswerView(props: Props) {
  const { answer, json } = props;
  const tier = tierOf(answer);
  const open = isOpen(answer);
  const text = json && !open && answer.text ? fenced(answer.text) : answer.text;
  return (
    <div className={`answer${tier ? ` tier-${tier}` : ""}${open ? " open" : ""}`} aria-busy={open}>
      <div className="track" />
      {answer.reasoning && (
        <details className="thinking">
          <summary>{answer.text || !open ? "Its thinking" : "Thinking…"}</summary>
          <div>{answer.reasoning}</div>
        </details>
      )}
      {answer.text ? (
        <div className="prose">
          <Markdown text={text} whole={!open} />
        </div>
      ) : (
        open && <Doing answer={answer} />
      )}
      {open && answer.away && answer.text && (
        <p className="doing" role="status">
          The connection broke. The gateway writes on; this page is finding its way back
          <span className="dots" />
        </p>
      )}
      {!open && !answer.text && answer.phase !== "failed" && (
        <p className="doing">
          {answer.phase === "stopped" ? "Stopped before the first word." : "The answer is empty."}
        </p>
      )}
      {answer.error && (
        <Notice error={answer.error}>
          <button
            type="button"
            className="button small"
            onClick={() => props.onAgain(answer.model)}
          >
            Ask again
          </button>
        </Notice>
      )}
      <Foot {...props} />
    </div>
  );
});

export function tierOf(answer: Answer): "local" | "strong" | "named" | null {
  const tier = answer.route?.tier;
  if (tier === "local" || tier === "strong") return tier;
  // A tier of another name has the colour of what the caller named himself.
  return tier || answer.route?.target ? "named" : null;
}

function fenced(text: string): string {
  try {
    return `\`\`\`json\n${JSON.stringify(JSON.parse(text), null, 2)}\n\`\`\``;
  } catch {
    return text;
  }
}

/** One line, from the question to the first token. */
export function saying(status: Status | null, away: boolean): string {
  if (away) return "Waiting for the connection";
  switch (status?.state) {
    case undefined:
      return "Sending";
    case "routing":
      return "Routing";
    case "queued": {
      const wait = status.wait_s == null ? "" : `, about ${number(Math.ceil(status.wait_s))} s`;
      return status.position ? `Queued ${ordinal(status.position)}${wait}` : `Queued${wait}`;
    }
    case "routed":
      return `Set for the ${status.tier ?? "named"} line`;
    case "asking":
      return status.attempt && status.attempt > 1
        ? `Trying ${status.target}`
        : `Asking ${status.target}`;
    case "loading":
      return `${status.target} is loading the model`;
    case "next":
      return `${status.target} failed, trying the next`;
    case "restarted":
      return "Starting over";
    default:
      return "Working";
  }
}

function Doing({ answer }: { answer: Answer }) {
  return (
    <>
      <p className="doing" role="status">
        <Junction tier={answer.route?.tier ?? null} />
        <span className="dots">{saying(answer.status, answer.away)}</span>
        <Seconds since={answer.asked} />
      </p>
      {answer.steps.map((step, at) => (
        <p className="doing-steps" key={at}>
          {step.target}: {step.reason}
        </p>
      ))}
    </>
  );
}

function Seconds({ since }: { since: number }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const beat = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(beat);
  }, []);
  const seconds = Math.floor((now - since) / 1000);
  return seconds > 1 ? <span className="num">{number(seconds)} s</span> : null;
}

function Foot({ conversation, answer, version, versions, onVersion, onAgain }: Props) {
  const [why, setWhy] = useState(false);
  const open = isOpen(answer);
  return (
    <>
      <div className="foot">
        {!open && answer.route && (
          <button
            type="button"
            className="whence"
            aria-expanded={why}
            onClick={() => setWhy(!why)}
            title="Why it came from there"
          >
            <Junction tier={tierOf(answer)} />
            <Whence answer={answer} />
            <Chevron size={14} />
          </button>
        )}
        {!open && (
          <div className="actions">
            {versions > 1 && (
              <span className="versions">
                <button
                  type="button"
                  className="icon-button"
                  disabled={version === 0}
                  onClick={() => onVersion(version - 1)}
                  aria-label="The version before"
                >
                  ‹
                </button>
                <span className="num">
                  {version + 1}/{versions}
                </span>
                <button
                  type="button"
                  className="icon-button"
                  disabled={version === versions - 1}
                  onClick={() => onVersion(version + 1)}
                  aria-label="The next version"
                >
                  ›
                </button>
              </span>
            )}
            {answer.text && <CopyButton text={answer.text} label="Copy the answer" />}
            <button
              type="button"
              className="icon-button"
              onClick={() => onAgain(answer.model)}
              aria-label="Regenerate"
              title="Regenerate (r)"
            >
              <Again />
            </button>
            <ModelPicker value={answer.model} onChoose={onAgain} label="Retry elsewhere" below>
              <Elsewhere />
            </ModelPicker>
            <Ratings conversation={conversation} answer={answer} />
          </div>
        )}
      </div>
      {why && !open && <Why answer={answer} />}
    </>
  );
}

function Whence({ answer }: { answer: Answer }) {
  const { route, usage } = answer;
  const first = route?.milliseconds?.first_token ?? answer.first;
  const failed = route?.fallbacks?.length ?? 0;
  const nobody = answer.phase === "failed" && !answer.text;
  return (
    <>
      <span className="target">{nobody ? "nobody answered" : (route?.target ?? answer.model)}</span>
      {route?.tier && <span className="tier">{route.tier}</span>}
      {route?.score != null && <span className="num">score {number(route.score, 2)}</span>}
      {failed > 0 && (
        <span>{nobody ? `${number(failed)} tried` : `after ${number(failed)} failed`}</span>
      )}
      {usage?.output_tokens != null && (
        <span className="num">{number(usage.output_tokens)} tokens</span>
      )}
      {answer.cost && (
        <span className="num">{money(answer.cost.amount, answer.cost.currency)}</span>
      )}
      {first != null && <span className="num">first in {ms(first)}</span>}
      {answer.pace != null && (
        <span className="num">{number(answer.pace, answer.pace < 10 ? 1 : 0)}/s</span>
      )}
    </>
  );
}

function Ratings({ conversation, answer }: { conversation: string; answer: Answer }) {
  const [error, setError] = useState<Told | null>(null);
  const give = async (value: Rating) => {
    setError(null);
    try {
      await rate(conversation, answer, value);
    } catch (fault) {
      const found = told(fault);
      setError(
        found.kind === "not_found"
          ? { ...found, message: "This gateway takes no ratings yet." }
          : found,
      );
    }
  };
  if (!answer.text) return null;
  const other = answer.route?.tier === "strong" ? "local" : "strong";
  const button = (value: Rating, label: string, icon: React.ReactNode) => (
    <button
      type="button"
      className="icon-button"
      aria-pressed={answer.ratings.includes(value)}
      onClick={() => void give(value)}
      aria-label={label}
      title={label}
    >
      {icon}
    </button>
  );
  return (
    <>
      {button("good", "Good answer", <Up />)}
      {button("bad", "Bad answer", <Down />)}
      {answer.route?.tier &&
        button("other_tier", `This should have gone to the ${other} tier`, <Swap />)}
      {error && (
        <span className="wrong" role="alert">
          {error.message}
        </span>
      )}
    </>
  );
}
