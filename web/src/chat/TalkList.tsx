/** The conversations: searched, renamed, exported, deleted. */
import { useDeferredValue, useEffect, useRef, useState } from "react";
import { follow, go, usePath, useQuery } from "../router";
import { Dialog } from "../ui/Dialog";
import { Edit, Export, Plus, Search, Trash } from "../ui/icons";
import { stopAll } from "./asking";
import type { Head } from "./model";
import { markdownOf } from "./model";
import { store, useHeads } from "./store";

const DAY = 86_400_000;
const AT_FIRST = 200;

export function TalkList() {
  const heads = useHeads();
  const here = useQuery("c");
  const onChat = usePath() === "/";
  const [words, setWords] = useState("");
  const [found, setFound] = useState<Set<string> | null>(null);
  const [doomed, setDoomed] = useState<Head | null>(null);
  const [most, setMost] = useState(AT_FIRST);
  const searched = useDeferredValue(words.trim());

  useEffect(() => {
    if (!searched) {
      setFound(null);
      return;
    }
    let gone = false;
    const soon = setTimeout(() => {
      void store.search(searched).then((ids) => {
        if (!gone) setFound(ids);
      });
    }, 120);
    return () => {
      gone = true;
      clearTimeout(soon);
    };
  }, [searched]);

  const shown = found ? heads.filter((one) => found.has(one.id)) : heads;
  return (
    <section className="talks" aria-label="Conversations">
      <div className="talks-top">
        <div className="search">
          <Search size={15} />
          <input
            id="talk-search"
            type="search"
            value={words}
            placeholder="Search"
            aria-label="Search conversations"
            onChange={(event) => setWords(event.target.value)}
          />
        </div>
        <a
          className="icon-button"
          href="/"
          onClick={follow}
          aria-label="New conversation"
          title="New conversation (n)"
        >
          <Plus />
        </a>
      </div>
      <div className="talk-list">
        {grouped(shown.slice(0, most)).map(([name, group]) => (
          <div key={name}>
            <h2>{name}</h2>
            <ul className="talk-list">
              {group.map((head) => (
                <Talk
                  key={head.id}
                  head={head}
                  here={onChat && head.id === here}
                  onDelete={() => setDoomed(head)}
                />
              ))}
            </ul>
          </div>
        ))}
        {shown.length > most && (
          <button type="button" className="button small" onClick={() => setMost(most + AT_FIRST)}>
            Show more
          </button>
        )}
        {!shown.length && (
          <p className="empty-list">
            {found
              ? `Nothing has “${searched}” in it.`
              : "Conversations are kept here, in this browser."}
          </p>
        )}
      </div>
      {doomed && (
        <Dialog title="Delete this conversation?" onClose={() => setDoomed(null)}>
          <p>“{doomed.title}” is deleted from this browser. It cannot be brought back.</p>
          <p className="dialog-row">
            <button
              type="button"
              className="button danger"
              onClick={() => {
                setDoomed(null);
                store.get(doomed.id)?.turns.forEach(stopAll);
                void store.remove(doomed.id);
                if (doomed.id === here) go("/");
              }}
            >
              Delete
            </button>
            <button type="button" className="button" onClick={() => setDoomed(null)}>
              Keep
            </button>
          </p>
        </Dialog>
      )}
    </section>
  );
}

function Talk({ head, here, onDelete }: { head: Head; here: boolean; onDelete: () => void }) {
  const [renaming, setRenaming] = useState(false);
  const box = useRef<HTMLInputElement>(null);
  const rename = () => {
    const title = box.current?.value.trim();
    setRenaming(false);
    if (title && title !== head.title) void store.rename(head.id, title);
  };
  if (renaming) {
    return (
      <li className="talk">
        <input
          ref={box}
          autoFocus
          defaultValue={head.title}
          aria-label="Name of the conversation"
          onFocus={(event) => event.target.select()}
          onBlur={rename}
          onKeyDown={(event) => {
            if (event.key === "Enter") rename();
            if (event.key === "Escape") {
              event.stopPropagation();
              setRenaming(false);
            }
          }}
        />
      </li>
    );
  }
  return (
    <li className={`talk${here ? " here" : ""}`}>
      <a
        href={`/?c=${head.id}`}
        onClick={follow}
        aria-current={here ? "page" : undefined}
        title={head.title}
      >
        {head.title}
      </a>
      <span className="tools">
        <button
          type="button"
          className="icon-button"
          onClick={() => setRenaming(true)}
          aria-label={`Rename ${head.title}`}
          title="Rename"
        >
          <Edit size={15} />
        </button>
        <button
          type="button"
          className="icon-button"
          onClick={() => void exported(head.id)}
          aria-label={`Export ${head.title}`}
          title="Export as Markdown"
        >
          <Export size={15} />
        </button>
        <button
          type="button"
          className="icon-button"
          onClick={onDelete}
          aria-label={`Delete ${head.title}`}
          title="Delete"
        >
          <Trash size={15} />
        </button>
      </span>
    </li>
  );
}

function grouped(heads: Head[]): [string, Head[]][] {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const groups = new Map<string, Head[]>();
  for (const head of heads) {
    const age = midnight - head.updated;
    const name =
      age < 0 ? "Today" : age < DAY ? "Yesterday" : age < 7 * DAY ? "This week" : "Earlier";
    groups.set(name, [...(groups.get(name) ?? []), head]);
  }
  return [...groups];
}

async function exported(id: string): Promise<void> {
  const conversation = await store.load(id);
  if (!conversation) return;
  save(
    `${conversation.title.replace(/[^\p{L}\p{N} _-]/gu, "").trim() || "conversation"}.md`,
    markdownOf(conversation),
  );
}

export function save(name: string, text: string, type = "text/markdown"): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
