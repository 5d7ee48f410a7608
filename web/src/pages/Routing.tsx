/** The classifier's card: what it would cost to draw the line elsewhere, and what it does now. */
import { useState } from "react";
import { GatewayError, send, told } from "../api/http";
import type { Told } from "../api/http";
import { follow } from "../router";
import { dateTime, number, share } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Figure, Panel, Sheet } from "../ui/Sheet";
import { useLoad } from "../ui/useLoad";
import { Curve } from "./Curve";
import type { CurvePoint } from "./Curve";
import { Explain } from "./Explain";
import { Histogram } from "./Histogram";

type Refused = string | { artefact?: string; error?: string } | null;

interface Shadow {
  version: string | null;
  refused: Refused;
  agreement: number | null;
  mean_absolute_difference: number | null;
  compared: number | null;
}

interface RouteNow {
  local: string[];
  strong: string[];
  threshold: number | null;
  target_strong_share: number | null;
  strong_share: number | null;
  decided: number;
}

interface Recent {
  request_id: string;
  at: number;
  route: string;
  score: number | null;
  tier: string;
  domain: string | null;
  target: string | null;
  prompt: string | null;
}

export interface RoutingState {
  classifier: {
    status: string;
    version: string | null;
    golden: string | null;
    refused: Refused;
    shadow: Shadow | null;
  } | null;
  classifier_error: string | null;
  card: Record<string, unknown> | null;
  curve: CurvePoint[] | null;
  routes: Record<string, RouteNow>;
  scores: number[];
  drift: { score: number; reference: string; count: number; drifted: boolean } | null;
  recent: Recent[];
}

const AGAIN_MS = 5000;

export default function Routing() {
  const { data, error, again } = useLoad<RoutingState>("/routing", AGAIN_MS);
  return (
    <Sheet
      title="Routing"
      about="Which questions take the local line and which the strong one, what that costs, and how well it does."
    >
      {error && <Notice error={error} />}
      {data && <Card state={data} onChange={again} />}
      {!data && !error && <p className="nothing">Asking the classifier…</p>}
    </Sheet>
  );
}

function Card({ state, onChange }: { state: RoutingState; onChange: () => void }) {
  const { classifier, drift } = state;
  const [given, setGiven] = useState("");
  const auto = state.routes.auto ?? Object.values(state.routes)[0];
  return (
    <>
      {state.classifier_error && (
        <Notice error={{ kind: "classifier", message: state.classifier_error }} />
      )}
      <dl className="figures">
        <Figure
          name="Classifier"
          value={
            classifier ? (classifier.status === "ok" ? "Well" : classifier.status) : "Out of reach"
          }
          bad={!classifier}
          under={classifier?.version ?? null}
        />
        <Figure
          name="Golden prompts"
          value={classifier?.golden === "ok" ? "Passed" : (classifier?.golden ?? "–")}
          bad={classifier?.golden != null && classifier.golden !== "ok"}
        />
        <Figure
          name="To the strong line"
          value={share(auto?.strong_share ?? null, 1)}
          under={auto ? `of ${number(auto.decided)} decided` : null}
        />
        <Figure
          name="Drift"
          value={drift ? (drift.drifted ? "Drifted" : "Steady") : "–"}
          bad={drift?.drifted ?? false}
          under={
            drift ? `${number(drift.score, 3)} over ${number(drift.count)}` : "too little traffic"
          }
        />
      </dl>
      <Panel title="Quality against cost">
        {state.curve?.length ? (
          <Curve curve={state.curve} route={auto} usual={usualOf(state.card)} onChange={onChange} />
        ) : (
          <p className="nothing">
            The classifier tells no curve: it serves no card of what it was measured on.
          </p>
        )}
      </Panel>
      <div className="two-up">
        <Panel title="Scores of live traffic" side={<span className="hint">since the start</span>}>
          <Histogram bins={state.scores} threshold={auto?.threshold ?? null} />
        </Panel>
        <Versions state={state} onChange={onChange} />
      </div>
      <Panel title="Why would it go there?">
        <Explain key={given} given={given} />
      </Panel>
      <Panel title="Last decisions">
        <Decisions recent={state.recent} onExplain={setGiven} />
      </Panel>
    </>
  );
}

function usualOf(card: RoutingState["card"]): number {
  return typeof card?.default_threshold === "number" ? card.default_threshold : 0.5;
}

function Versions({ state, onChange }: { state: RoutingState; onChange: () => void }) {
  const [error, setError] = useState<Told | null>(null);
  const [done, setDone] = useState("");
  const [busy, setBusy] = useState(false);
  const { classifier } = state;
  const shadow = classifier?.shadow ?? null;
  const run = async (what: "promote" | "rollback") => {
    setBusy(true);
    setError(null);
    setDone("");
    try {
      await send("POST", `/routing/${what}`, {});
      setDone(what === "promote" ? "The candidate serves now." : "The one before serves again.");
      onChange();
    } catch (fault) {
      const found = told(fault);
      // 501: the message is the command that does it.
      setError(
        fault instanceof GatewayError && fault.status === 501
          ? { ...found, kind: "command" }
          : found,
      );
    }
    setBusy(false);
  };
  return (
    <Panel title="Candidate against the active one">
      {shadow ? (
        <table className="plain">
          <tbody>
            <Fact name="Active" value={classifier?.version ?? "–"} />
            <Fact
              name="Candidate"
              value={shadow.refused ? `refused: ${why(shadow.refused)}` : (shadow.version ?? "–")}
            />
            <Fact
              name="Agree on"
              value={`${share(shadow.agreement, 1)} of ${number(shadow.compared)}`}
            />
            <Fact name="Scores differ by" value={number(shadow.mean_absolute_difference, 3)} />
          </tbody>
        </table>
      ) : (
        <p className="nothing">
          No candidate watches. Train one with{" "}
          <code>python -m classifier train --out var/candidate</code>, and start the classifier with{" "}
          <code>CLASSIFIER_SHADOW=var/candidate</code>.
        </p>
      )}
      {classifier?.refused && (
        <p className="wrong">An artefact on disk was refused: {why(classifier.refused)}</p>
      )}
      <div className="form">
        <div className="acts">
          <button
            type="button"
            className="button small"
            disabled={busy || !shadow}
            onClick={() => void run("promote")}
          >
            Promote the candidate
          </button>
          <button
            type="button"
            className="button small"
            disabled={busy}
            onClick={() => void run("rollback")}
          >
            Roll back
          </button>
          {done && <span role="status">{done}</span>}
        </div>
      </div>
      {error && <Notice error={error} />}
    </Panel>
  );
}

function why(refused: Refused): string {
  return typeof refused === "string" ? refused : (refused?.error ?? refused?.artefact ?? "");
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td className="name-cell">{value}</td>
    </tr>
  );
}

function Decisions({
  recent,
  onExplain,
}: {
  recent: Recent[];
  onExplain: (prompt: string) => void;
}) {
  if (!recent.length)
    return <p className="nothing">Nothing was decided yet. Ask “auto” something.</p>;
  return (
    <div className="grid-box" tabIndex={0} role="region" aria-label="Last decisions">
      <table className="plain stacked">
        <thead>
          <tr>
            <th>When</th>
            <th>Line</th>
            <th className="n">Score</th>
            <th>Domain</th>
            <th>Target</th>
            <th>Prompt</th>
          </tr>
        </thead>
        <tbody>
          {recent.map((one) => (
            <tr key={one.request_id} className={`tier-${one.tier}`}>
              <td data-name="When">
                <a
                  href={`/monitoring?request=${encodeURIComponent(one.request_id)}`}
                  onClick={follow}
                >
                  {dateTime(one.at)}
                </a>
              </td>
              <td data-name="Line" className="tier-word">
                {one.tier}
              </td>
              <td data-name="Score" className="n">
                {number(one.score, 2)}
              </td>
              <td data-name="Domain">{one.domain ?? "–"}</td>
              <td data-name="Target" className="name-cell">
                {one.target ?? "–"}
              </td>
              <td data-name="Prompt" className="name-cell">
                {one.prompt ? (
                  <button
                    type="button"
                    className="link"
                    onClick={() => onExplain(one.prompt ?? "")}
                  >
                    {one.prompt.slice(0, 120)}
                  </button>
                ) : (
                  <span className="hint">not kept</span>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
