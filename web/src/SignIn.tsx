/** The door: an admin token or an app code. */
import { useState } from "react";
import { signIn } from "./api/gateway";
import { Mark } from "./ui/Junction";

export function SignIn({ refusal }: { refusal: string }) {
  const [given, setGiven] = useState("");
  return (
    <main className="sign-in">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (given.trim()) signIn(given);
        }}
      >
        <h1>
          <Mark size={34} /> Pointsman
        </h1>
        <p className="hint">
          This gateway asks who you are. Paste your app code, or the admin token.
        </p>
        <label className="field">
          <span>App code or admin token</span>
          <input
            type="password"
            name="token"
            autoComplete="current-password"
            autoFocus
            value={given}
            aria-invalid={refusal !== ""}
            aria-describedby={refusal ? "refusal" : undefined}
            onChange={(event) => setGiven(event.target.value)}
          />
        </label>
        {refusal && (
          <p className="wrong" id="refusal" role="alert">
            {refusal}
          </p>
        )}
        <button type="submit" className="button first" disabled={!given.trim()}>
          Sign in
        </button>
        <p className="hint">It is kept in this tab alone, until the tab is closed.</p>
      </form>
    </main>
  );
}
