/** Providers and routes, changed while the gateway runs. A key is masked; a mask that is sent back
 * changes nothing. */
import { useState } from "react";
import { send, told } from "../api/http";
import type { Told } from "../api/http";
import { number, share } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Panel, Sheet } from "../ui/Sheet";
import { useLoad } from "../ui/useLoad";

interface Provider {
  name: string;
  on: boolean;
  api_key: string | null;
  base_url: string | null;
  changed: string[];
  detail?: string;
  status?: string;
}

interface RouteLine {
  threshold?: number | null;
  target_strong_share?: number | null;
  local?: string[];
  strong?: string[];
  changed: string[];
}

interface State {
  providers: Record<string, Provider>;
  routes: Record<string, RouteLine>;
}

interface Tested {
  ok: boolean;
  detail?: string;
  ms?: number;
}

type Save = (change: object) => Promise<Told | null>;

export default function Settings() {
  const { data, error, put } = useLoad<State>("/settings");
  const save: Save = async (change) => {
    try {
      put(await send<State>("POST", "/settings", change));
      return null;
    } catch (fault) {
      return told(fault);
    }
  };
  const providers = Object.values(data?.providers ?? {}).sort(
    (a, b) => Number(b.on) - Number(a.on) || a.name.localeCompare(b.name),
  );
  return (
    <Sheet
      title="Settings"
      about="What is set here holds at once, in every process, over gateway.toml and the environment."
    >
      {error && <Notice error={error} />}
      {data && (
        <Panel title="Where the line is">
          {Object.entries(data.routes).map(([name, line]) => (
            <RouteForm key={name} name={name} line={line} save={save} />
          ))}
        </Panel>
      )}
      {data && (
        <Panel title="Providers">
          <div>
            {providers.map((provider) => (
              <ProviderForm
                key={`${provider.name} ${provider.api_key} ${provider.base_url}`}
                provider={provider}
                save={save}
              />
            ))}
          </div>
        </Panel>
      )}
      {!data && !error && <p className="nothing">Reading the settings…</p>}
    </Sheet>
  );
}

type Kind = "card" | "threshold" | "target_strong_share";

const KINDS: [Kind, string][] = [
  ["card", "As trained"],
  ["threshold", "A threshold"],
  ["target_strong_share", "A share"],
];

function kindOf(line: RouteLine): Kind {
  if (line.threshold != null) return "threshold";
  return line.target_strong_share != null ? "target_strong_share" : "card";
}

function RouteForm({ name, line, save }: { name: string; line: RouteLine; save: Save }) {
  const [kind, setKind] = useState<Kind>(() => kindOf(line));
  const [value, setValue] = useState(() => line.threshold ?? line.target_strong_share ?? 0.5);
  const [error, setError] = useState<Told | null>(null);
  const [done, setDone] = useState(false);
  const holds = kind === kindOf(line) && (kind === "card" || value === (line[kind] ?? null));
  const submit = async () => {
    const fault = await save({
      routes: {
        [name]:
          kind === "card" ? { threshold: null, target_strong_share: null } : { [kind]: value },
      },
    });
    setError(fault);
    setDone(!fault);
  };
  return (
    <form
      className="form"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <fieldset>
        <legend>The route “{name}”</legend>
        <div className="segments">
          {KINDS.map(([one, word]) => (
            <label key={one}>
              <input
                type="radio"
                name={`line-${name}`}
                checked={kind === one}
                onChange={() => setKind(one)}
              />
              {word}
            </label>
          ))}
        </div>
      </fieldset>
      {kind !== "card" && (
        <label className="field">
          <span>
            {kind === "threshold"
              ? `Questions that score under ${number(value, 2)} take the strong line`
              : `The hardest ${share(value)} of the questions take the strong line`}
          </span>
          <input
            type="range"
            min={0}
            max={1}
            step={0.01}
            value={value}
            onChange={(event) => setValue(Number(event.target.value))}
          />
        </label>
      )}
      {error && <Notice error={error} />}
      <div className="acts">
        <button type="submit" className="button" disabled={holds}>
          Save
        </button>
        <span className="hint" role="status">
          {done && holds
            ? "It holds from the next question on."
            : line.changed.length
              ? "Set here, over gateway.toml."
              : ""}
        </span>
      </div>
    </form>
  );
}

function ProviderForm({ provider, save }: { provider: Provider; save: Save }) {
  const [key, setKey] = useState(provider.api_key ?? "");
  const [url, setUrl] = useState(provider.base_url ?? "");
  const [error, setError] = useState<Told | null>(null);
  const [tested, setTested] = useState<Tested | null>(null);
  const [busy, setBusy] = useState(false);
  const { name } = provider;
  const change = {
    ...(key !== (provider.api_key ?? "") ? { api_key: key || null } : {}),
    ...(url !== (provider.base_url ?? "") ? { base_url: url || null } : {}),
  };
  const submit = async () => {
    setTested(null);
    setBusy(true);
    setError(await save({ providers: { [name]: change } }));
    setBusy(false);
  };
  const test = async () => {
    setBusy(true);
    setTested(null);
    setError(null);
    try {
      setTested(await send<Tested>("POST", "/settings/test", { provider: name, ...change }));
    } catch (fault) {
      setError(told(fault));
    }
    setBusy(false);
  };
  const well = provider.on && (provider.status === "connected" || provider.status === "unchecked");
  return (
    <section aria-label={name}>
      <details className="provider">
        <summary>
          <strong className={`state ${well ? "good" : provider.on ? "warn" : ""}`}>{name}</strong>
          <span className="hint">
            {provider.on
              ? (provider.status ?? "being looked at")
              : `off: ${provider.detail ?? "not set"}`}
          </span>
          {provider.changed.length > 0 && <span className="hint">set here</span>}
        </summary>
        <form
          className="form"
          onSubmit={(event) => {
            event.preventDefault();
            void submit();
          }}
        >
          <div className="form-row">
            <label className="field">
              <span>Key</span>
              <input
                value={key}
                autoComplete="off"
                spellCheck={false}
                className="mono"
                placeholder="none"
                aria-invalid={error?.param?.endsWith("api_key") ?? false}
                onFocus={(event) => event.target.select()}
                onChange={(event) => setKey(event.target.value)}
              />
            </label>
            <label className="field">
              <span>Address</span>
              <input
                value={url}
                type="url"
                spellCheck={false}
                placeholder="as the catalogue has it"
                aria-invalid={error?.param?.endsWith("base_url") ?? false}
                onChange={(event) => setUrl(event.target.value)}
              />
            </label>
          </div>
          {error && <Notice error={error} />}
          <div className="acts">
            <button
              type="submit"
              className="button first"
              disabled={busy || !Object.keys(change).length}
            >
              Save
            </button>
            <button type="button" className="button" disabled={busy} onClick={() => void test()}>
              Test the connection
            </button>
            {tested && (
              <span role="status" className={`state ${tested.ok ? "good" : "bad"}`}>
                {tested.detail ?? (tested.ok ? "It answers." : "It does not answer.")}
                {tested.ok && tested.ms != null && ` (${number(tested.ms)} ms)`}
              </span>
            )}
          </div>
        </form>
      </details>
    </section>
  );
}
