/** The frame around every page. */
import { Component, Suspense, lazy, useEffect, useState } from "react";
import type { ReactNode } from "react";
import { signOut, useSigned } from "./api/gateway";
import type { Signed } from "./api/gateway";
import { readProfile } from "./api/profile";
import { token } from "./api/session";
import { Chat } from "./chat/Chat";
import { store } from "./chat/store";
import { TalkList } from "./chat/TalkList";
import { follow, go, usePath, useQuery } from "./router";
import { SignIn } from "./SignIn";
import { Dialog } from "./ui/Dialog";
import { Mark } from "./ui/Junction";
import { Menu } from "./ui/icons";
import { SHORTCUTS, onShortcut } from "./ui/shortcuts";

const PAGES = [
  { path: "/", name: "Chat", admin: false, Page: Chat },
  {
    path: "/monitoring",
    name: "Monitoring",
    admin: false,
    Page: lazy(() => import("./pages/Monitoring")),
  },
  { path: "/routing", name: "Routing", admin: true, Page: lazy(() => import("./pages/Routing")) },
  { path: "/jobs", name: "Jobs", admin: false, Page: lazy(() => import("./pages/Jobs")) },
  { path: "/usage", name: "Usage", admin: false, Page: lazy(() => import("./pages/Usage")) },
  { path: "/codes", name: "App codes", admin: true, Page: lazy(() => import("./pages/Codes")) },
  {
    path: "/settings",
    name: "Settings",
    admin: true,
    Page: lazy(() => import("./pages/Settings")),
  },
  { path: "/profile", name: "Profile", admin: false, Page: lazy(() => import("./pages/Profile")) },
];

export function App() {
  const signed = useSigned();
  const path = usePath().replace(/(.)\/$/, "$1");
  const query = useQuery("c");
  const [menu, setMenu] = useState(false);
  const [help, setHelp] = useState(false);
  const here = PAGES.find((one) => one.path === path);

  useEffect(() => {
    if (signed.state === "in") void store.use(signed.caller.id);
  }, [signed.state, signed.caller.id]);
  const [, setLooks] = useState(false);
  useEffect(() => {
    if (signed.state !== "in" || !token()) return;
    // Without it the page looks as this browser knows it.
    readProfile().then(
      () => setLooks((had) => !had),
      () => undefined,
    );
  }, [signed.state, signed.caller.id]);
  useEffect(() => setMenu(false), [path, query]);
  useEffect(() => {
    if (path !== "/") document.title = `${here?.name ?? "Not found"} · Pointsman`;
  }, [path, here]);
  useEffect(
    () =>
      onShortcut((name) => {
        if (name === "help") setHelp(true);
        else if (name === "new") go("/");
        else if (name.startsWith("go ")) go(name.slice(3));
        else if (name === "focus") focus("question", () => go("/"));
        else if (name === "search") {
          setMenu(true);
          focus("talk-search", () => undefined);
        } else if (name === "stop") setMenu(false);
        else return false;
        return true;
      }),
    [],
  );

  if (signed.state === "out") return <SignIn refusal={signed.refusal} />;
  const allowed = here && (!here.admin || signed.caller.admin);
  return (
    <div className="shell">
      <header className="topbar">
        <button
          type="button"
          className="icon-button"
          onClick={() => setMenu(true)}
          aria-label="Menu"
          aria-expanded={menu}
        >
          <Menu />
        </button>
        <a className="icon-button" href="/" onClick={follow} aria-label="Pointsman">
          <Mark size={24} />
        </a>
        <span className="brand">Pointsman</span>
      </header>
      {menu && (
        <button
          type="button"
          className="veil"
          aria-label="Close the menu"
          onClick={() => setMenu(false)}
        />
      )}
      <div className={`side${menu ? " open" : ""}`}>
        <a className="brand" href="/" onClick={follow} aria-label="Pointsman">
          <Mark /> Pointsman
        </a>
        <nav aria-label="Pages">
          <ul className="stops">
            {PAGES.filter((one) => !one.admin || signed.caller.admin).map((one) => (
              <li key={one.path}>
                <a
                  href={one.path}
                  onClick={follow}
                  aria-current={one.path === path ? "page" : undefined}
                >
                  {one.name}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <TalkList />
        <SideFoot signed={signed} onHelp={() => setHelp(true)} />
      </div>
      <main className="page" tabIndex={-1}>
        <Fence key={path}>
          <Suspense fallback={<p className="waiting-page">Loading…</p>}>
            {allowed ? (
              <here.Page />
            ) : signed.state === "waiting" ? null : (
              <Nowhere known={here !== undefined} />
            )}
          </Suspense>
        </Fence>
      </main>
      {help && <Help onClose={() => setHelp(false)} />}
    </div>
  );
}

/** At once where it is: the next key that is pressed belongs to it. */
function focus(id: string, otherwise: () => void): void {
  const there = document.getElementById(id);
  if (there?.checkVisibility({ visibilityProperty: true })) return there.focus();
  if (!there) otherwise();
  requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById(id)?.focus()));
}

const LINKS: Record<string, string> = {
  ready: "Connected",
  lost: "The connection is lost; trying again",
  connecting: "Connecting",
  blocked: "Connected over plain HTTP",
  refused: "Not signed in",
};

function SideFoot({ signed, onHelp }: { signed: Signed; onHelp: () => void }) {
  const name = signed.caller.id === "open" ? "local mode" : signed.caller.name;
  const lamp = signed.link === "blocked" ? "ready" : signed.link;
  return (
    <div className="side-foot">
      <span className="who" title={LINKS[signed.link]}>
        <span className={`lamp ${lamp}`} role="img" aria-label={LINKS[signed.link]} />
        {signed.state === "waiting" ? "connecting…" : name}
      </span>
      {token() ? (
        <button type="button" className="icon-button" onClick={signOut}>
          Sign out
        </button>
      ) : (
        <a className="icon-button" href="/profile" onClick={follow}>
          Sign in
        </a>
      )}
      <button
        type="button"
        className="icon-button"
        onClick={onHelp}
        aria-label="Shortcuts"
        title="Shortcuts (?)"
      >
        ?
      </button>
    </div>
  );
}

function Nowhere({ known }: { known: boolean }) {
  return (
    <div className="waiting-page">
      <h1>{known ? "This page is the operator’s" : "There is nothing here"}</h1>
      <p>
        {known ? "Sign in with the admin token to see it. " : ""}
        <a href="/" onClick={follow}>
          Back to the chat
        </a>
      </p>
    </div>
  );
}

function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Shortcuts" onClose={onClose}>
      <dl className="keys">
        {SHORTCUTS.map(([keys, , what]) => (
          <div key={keys} className="key-row">
            <dt>
              {keys.split(" ").map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

/** A page that fails takes nothing else with it. */
class Fence extends Component<{ children: ReactNode }, { fault: string }> {
  override state = { fault: "" };

  static getDerivedStateFromError(fault: unknown) {
    return { fault: fault instanceof Error ? fault.message : String(fault) };
  }

  override render() {
    if (!this.state.fault) return this.props.children;
    return (
      <div className="waiting-page" role="alert">
        <h1>This page failed</h1>
        <p>
          {this.state.fault}{" "}
          <button type="button" className="link" onClick={() => location.reload()}>
            Load it again
          </button>
        </p>
      </div>
    );
  }
}
