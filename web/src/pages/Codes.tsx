/** App codes: made, changed in nothing but their secret, and revoked. A secret is shown once. */
import { useState } from "react";
import { send, told } from "../api/http";
import type { Told } from "../api/http";
import { CopyButton } from "../chat/Markdown";
import { Dialog } from "../ui/Dialog";
import { date, money, number, short } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Panel, Sheet } from "../ui/Sheet";
import { useLoad } from "../ui/useLoad";

interface Code {
  id: string;
  name: string;
  rate_limit: string | null;
  token_limit: string | null;
  models: string[];
  concurrency: number | null;
  budget_day: string | null;
  budget_month: string | null;
  tokens_day: number | null;
  tokens_month: number | null;
  expires: string | null;
  origin: string;
  created_at: string | null;
  revoked_at: string | null;
  secrets: { prefix: string; created_at: string | null; ends_at: string | null }[];
  used: { running: number; day: Used; month: Used };
}

interface Used {
  cost: string;
  tokens: number;
}

interface Made extends Code {
  /** The secret. */
  code: string;
}

const GRACES: [string, number][] = [
  ["at once", 0],
  ["in an hour", 3600],
  ["in a day", 86_400],
  ["in a week", 604_800],
];

export default function Codes() {
  const { data, error, again } = useLoad<{ codes: Code[] }>("/codes");
  const [made, setMade] = useState<Made | null>(null);
  const [making, setMaking] = useState(false);
  const [rotating, setRotating] = useState<Code | null>(null);
  const [revoking, setRevoking] = useState<Code | null>(null);
  const codes = data?.codes ?? [];
  const shown = (code: Made) => {
    setMade(code);
    setMaking(false);
    setRotating(null);
    again();
  };
  return (
    <Sheet
      title="App codes"
      about="Each caller holds a code of his own. It says what he may ask, how often, and for how much."
      tools={
        <button type="button" className="button first" onClick={() => setMaking(true)}>
          New code
        </button>
      }
    >
      {error && <Notice error={error} />}
      {made && <Secret code={made} onClose={() => setMade(null)} />}
      {data && <Table codes={codes} onRotate={setRotating} onRevoke={setRevoking} />}
      {making && <Make onClose={() => setMaking(false)} onMade={shown} />}
      {rotating && <Rotate code={rotating} onClose={() => setRotating(null)} onMade={shown} />}
      {revoking && (
        <Revoke
          code={revoking}
          onClose={() => setRevoking(null)}
          onDone={() => {
            setRevoking(null);
            again();
          }}
        />
      )}
    </Sheet>
  );
}

function Secret({ code, onClose }: { code: Made; onClose: () => void }) {
  return (
    <Panel title={`The code of ${code.name}`}>
      <div className="secret">
        <code>{code.code}</code>
        <CopyButton text={code.code} label="Copy the code" />
      </div>
      <p className="hint">
        Copy it now: it is not kept, and is not shown again. As a link that signs in:{" "}
        <CopyButton
          text={`${location.origin}/#token=${encodeURIComponent(code.code)}`}
          label="Copy the link"
        />
      </p>
      <p>
        <button type="button" className="button small" onClick={onClose}>
          I have it
        </button>
      </p>
    </Panel>
  );
}

function Table({
  codes,
  onRotate,
  onRevoke,
}: {
  codes: Code[];
  onRotate: (code: Code) => void;
  onRevoke: (code: Code) => void;
}) {
  if (!codes.length) return <p className="nothing">There is no app code yet.</p>;
  const shown = [...codes].sort(
    (a, b) => Number(a.revoked_at !== null) - Number(b.revoked_at !== null),
  );
  return (
    <div className="grid-box" tabIndex={0} role="region" aria-label="App codes">
      <table className="plain stacked">
        <thead>
          <tr>
            <th>Name</th>
            <th>Code</th>
            <th>Limits</th>
            <th className="n">Today</th>
            <th className="n">This month</th>
            <th>Until</th>
            <th>
              <span className="off-screen">What to do</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {shown.map((code) => (
            <tr key={code.id}>
              <td data-name="Name" className="name-cell">
                <span className={`state ${code.revoked_at ? "bad" : "good"}`}>{code.name}</span>
                {code.origin === "settings" && <div className="hint">from gateway.toml</div>}
              </td>
              <td data-name="Code" className="mono">
                {code.secrets.map((one) => `${one.prefix}…`).join(", ") || "–"}
              </td>
              <td data-name="Limits">{limitsOf(code)}</td>
              <td data-name="Today" className="n">
                {money(code.used.day.cost)}
                <div className="hint">{short(code.used.day.tokens)} tokens</div>
              </td>
              <td data-name="This month" className="n">
                {money(code.used.month.cost)}
                <div className="hint">{short(code.used.month.tokens)} tokens</div>
              </td>
              <td data-name="Until">
                {code.revoked_at
                  ? `revoked ${date(code.revoked_at)}`
                  : code.expires
                    ? date(code.expires)
                    : "always"}
              </td>
              <td>
                {!code.revoked_at && (
                  <div className="acts">
                    {code.origin !== "settings" && (
                      <button type="button" className="button small" onClick={() => onRotate(code)}>
                        Rotate
                      </button>
                    )}
                    <button
                      type="button"
                      className="button small danger"
                      onClick={() => onRevoke(code)}
                    >
                      Revoke
                    </button>
                  </div>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function limitsOf(code: Code): string {
  const parts = [
    code.rate_limit,
    code.token_limit && `${code.token_limit} tokens`,
    code.concurrency !== null && `${number(code.concurrency)} at a time`,
    code.budget_day !== null && `${money(code.budget_day)} a day`,
    code.budget_month !== null && `${money(code.budget_month)} a month`,
    code.tokens_day !== null && `${short(code.tokens_day)} tokens a day`,
    code.models.length > 0 && code.models.join(", "),
  ].filter(Boolean);
  return parts.join(" · ") || "none";
}

const FIELDS: {
  name: string;
  label: string;
  hint: string;
  kind: "text" | "number" | "list" | "date";
}[] = [
  { name: "rate_limit", label: "Requests", hint: "as 100/hour", kind: "text" },
  { name: "token_limit", label: "Tokens", hint: "as 20000/minute", kind: "text" },
  { name: "concurrency", label: "At a time", hint: "answers at once", kind: "number" },
  { name: "max_tokens", label: "Longest answer", hint: "tokens", kind: "number" },
  { name: "budget_day", label: "Budget a day", hint: "US dollars", kind: "number" },
  { name: "budget_month", label: "Budget a month", hint: "US dollars", kind: "number" },
  { name: "models", label: "Models", hint: "as auto, openai/*", kind: "list" },
  { name: "expires", label: "Valid until", hint: "empty: always", kind: "date" },
];

function Make({ onClose, onMade }: { onClose: () => void; onMade: (code: Made) => void }) {
  const [error, setError] = useState<Told | null>(null);
  const submit = async (form: FormData) => {
    setError(null);
    const body: Record<string, unknown> = { name: String(form.get("name")) };
    for (const { name, kind } of FIELDS) {
      const text = String(form.get(name) ?? "").trim();
      if (!text) continue;
      if (kind === "number") body[name] = Number(text);
      else if (kind === "list") body[name] = text.split(/[\s,]+/).filter(Boolean);
      else if (kind === "date") body[name] = new Date(`${text}T23:59:59`).toISOString();
      else body[name] = text;
    }
    try {
      onMade(await send<Made>("POST", "/codes", body));
    } catch (fault) {
      setError(told(fault));
    }
  };
  return (
    <Dialog title="New app code" onClose={onClose}>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          void submit(new FormData(event.currentTarget));
        }}
      >
        <label className="field">
          <span>Name</span>
          <input name="name" required autoFocus maxLength={200} placeholder="who will use it" />
        </label>
        <div className="form-row">
          {FIELDS.map(({ name, label, hint, kind }) => (
            <label className="field" key={name}>
              <span>{label}</span>
              <input
                name={name}
                type={kind === "date" ? "date" : kind === "number" ? "number" : "text"}
                min={kind === "number" ? 0 : undefined}
                step={name.startsWith("budget") ? "any" : undefined}
                placeholder={hint}
                aria-invalid={error?.param?.startsWith(name) ?? false}
              />
            </label>
          ))}
        </div>
        <p className="hint">What is left empty is not limited.</p>
        {error && <Notice error={error} />}
        <div className="acts">
          <button type="submit" className="button first">
            Make the code
          </button>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Rotate({
  code,
  onClose,
  onMade,
}: {
  code: Code;
  onClose: () => void;
  onMade: (code: Made) => void;
}) {
  const [grace, setGrace] = useState(86_400);
  const [error, setError] = useState<Told | null>(null);
  const run = async () => {
    try {
      onMade(
        await send<Made>("POST", `/codes/${encodeURIComponent(code.id)}/rotate`, {
          grace_s: grace,
        }),
      );
    } catch (fault) {
      setError(told(fault));
    }
  };
  return (
    <Dialog title={`A new code for ${code.name}`} onClose={onClose}>
      <div className="form">
        <label className="field">
          <span>The old one ends</span>
          <select value={grace} onChange={(event) => setGrace(Number(event.target.value))}>
            {GRACES.map(([word, seconds]) => (
              <option key={seconds} value={seconds}>
                {word}
              </option>
            ))}
          </select>
        </label>
        {error && <Notice error={error} />}
        <div className="acts">
          <button type="button" className="button first" onClick={() => void run()}>
            Rotate
          </button>
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </div>
    </Dialog>
  );
}

function Revoke({
  code,
  onClose,
  onDone,
}: {
  code: Code;
  onClose: () => void;
  onDone: () => void;
}) {
  const [error, setError] = useState<Told | null>(null);
  const run = async () => {
    try {
      await send("DELETE", `/codes/${encodeURIComponent(code.id)}`);
      onDone();
    } catch (fault) {
      setError(told(fault));
    }
  };
  return (
    <Dialog title={`Revoke the code of ${code.name}?`} onClose={onClose}>
      <div className="form">
        <p>Whoever uses it is refused from now on, for good. What it used stays in the books.</p>
        {error && <Notice error={error} />}
        <div className="acts">
          <button type="button" className="button danger" onClick={() => void run()}>
            Revoke
          </button>
          <button type="button" className="button" onClick={onClose}>
            Keep
          </button>
        </div>
      </div>
    </Dialog>
  );
}
