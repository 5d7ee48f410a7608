/** Who sits here: what this browser knows, and what the gateway keeps of it. */
import { useState } from "react";
import { signIn, signOut, useSigned } from "../api/gateway";
import { told } from "../api/http";
import type { Told } from "../api/http";
import { keep } from "../api/profile";
import type { Kept } from "../api/profile";
import { token } from "../api/session";
import { dateTime, datesLanguage, isLanguage, money, number, setDatesLanguage } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Panel, Sheet } from "../ui/Sheet";
import { applyTheme, theme } from "../ui/theme";
import type { Theme } from "../ui/theme";
import { useLoad } from "../ui/useLoad";

const THEMES: [Theme, string][] = [
  ["system", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"],
];

export default function Profile() {
  const { state } = useSigned();
  const held = token() !== "" && state === "in";
  return (
    <Sheet title="Profile" narrow>
      {held && <About />}
      <Look held={held} />
      <Access />
    </Sheet>
  );
}

/** Holds at once here; and for whoever is signed in, in every browser that he uses. */
function Look({ held }: { held: boolean }) {
  // What is chosen here stays, whenever the kept one comes.
  const [picked, setPicked] = useState<Theme | null>(null);
  const [typed, setTyped] = useState<string | null>(null);
  const chosen = picked ?? theme();
  const language = typed ?? datesLanguage();
  const [fault, setFault] = useState<Told | null>(null);
  const wrong = language !== "" && !isLanguage(language);
  const kept = (part: Partial<Kept>) => {
    setFault(null);
    if (held) keep(part).catch((problem: unknown) => setFault(told(problem)));
  };
  return (
    <Panel
      title="How it looks"
      side={<span className="hint">{held ? "wherever you sign in" : "in this browser"}</span>}
    >
      {fault && <Notice error={fault} />}
      <div className="form">
        <fieldset>
          <legend>Theme</legend>
          <div className="segments">
            {THEMES.map(([value, word]) => (
              <label key={value}>
                <input
                  type="radio"
                  name="theme"
                  checked={chosen === value}
                  onChange={() => {
                    setPicked(value);
                    applyTheme(value);
                    kept({ theme: value });
                  }}
                />
                {word}
              </label>
            ))}
          </div>
        </fieldset>
        <label className="field">
          <span>Language of dates and numbers</span>
          <input
            list="languages"
            value={language}
            placeholder={`as the browser, ${navigator.language}`}
            aria-invalid={wrong}
            onChange={(event) => {
              const given = event.target.value.trim();
              setTyped(given);
              if (!given || isLanguage(given)) setDatesLanguage(given);
            }}
            onBlur={() => {
              if (!wrong) kept({ language });
            }}
          />
          <datalist id="languages">
            {[
              "en-GB",
              "en-US",
              "de-DE",
              "fr-FR",
              "es-ES",
              "it-IT",
              "nl-NL",
              "pl-PL",
              "pt-BR",
              "ja-JP",
              "zh-CN",
            ].map((one) => (
              <option key={one} value={one} />
            ))}
          </datalist>
          <span className={wrong ? "wrong" : "hint"}>
            {wrong
              ? "No such language; write it as de-DE."
              : `${dateTime(Date.now())} · ${number(1234567.8, 1)} · ${money("0.0042")}`}
          </span>
        </label>
      </div>
    </Panel>
  );
}

function About() {
  const { data, error, missing, put } = useLoad<Kept>("/profile");
  // What is typed stays, whenever the kept one comes.
  const [typedName, setName] = useState<string | null>(null);
  const [typedEmail, setEmail] = useState<string | null>(null);
  const name = typedName ?? data?.display_name ?? "";
  const email = typedEmail ?? data?.email ?? "";
  const [fault, setFault] = useState<Told | null>(null);
  const [done, setDone] = useState("");
  const save = async () => {
    setFault(null);
    setDone("");
    try {
      put(await keep({ display_name: name, email }));
      setDone("Saved.");
    } catch (problem) {
      setFault(told(problem));
    }
  };
  return (
    <Panel title="You">
      {missing ? (
        <p className="nothing">This gateway keeps no profiles.</p>
      ) : error ? (
        <Notice error={error} />
      ) : (
        <form
          className="form"
          onSubmit={(event) => {
            event.preventDefault();
            void save();
          }}
        >
          <div className="form-row">
            <label className="field">
              <span>Name</span>
              <input
                value={name}
                autoComplete="name"
                maxLength={200}
                aria-invalid={fault?.param === "display_name"}
                onChange={(event) => setName(event.target.value)}
              />
            </label>
            <label className="field">
              <span>E-mail</span>
              <input
                value={email}
                type="email"
                autoComplete="email"
                maxLength={254}
                aria-invalid={fault?.param === "email"}
                onChange={(event) => setEmail(event.target.value)}
              />
            </label>
          </div>
          {fault && <Notice error={fault} />}
          <div className="acts">
            <button type="submit" className="button first" disabled={!data}>
              Save
            </button>
            {done && <span role="status">{done}</span>}
          </div>
        </form>
      )}
    </Panel>
  );
}

function Access() {
  const { caller } = useSigned();
  const [given, setGiven] = useState("");
  if (token()) {
    return (
      <Panel title="Access">
        <p>
          Signed in as <strong>{caller.name}</strong>
          {caller.admin && caller.name !== "admin" && ", an operator"}. The token is kept in this
          tab alone.
        </p>
        <p>
          <button type="button" className="button" onClick={signOut}>
            Sign out
          </button>
        </p>
      </Panel>
    );
  }
  return (
    <Panel title="Access">
      <p className="hint">
        This gateway answers without a key. The admin token opens Routing, App codes and Settings.
      </p>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          if (given.trim()) signIn(given);
        }}
      >
        <label className="field">
          <span>Admin token or app code</span>
          <input
            type="password"
            autoComplete="current-password"
            value={given}
            onChange={(event) => setGiven(event.target.value)}
          />
        </label>
        <div className="acts">
          <button type="submit" className="button" disabled={!given.trim()}>
            Sign in
          </button>
        </div>
      </form>
    </Panel>
  );
}
