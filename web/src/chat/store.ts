/** The conversations of this page: what is shown, what is written down, and when. Deltas are
 * gathered and shown once a frame, however many come. */
import { useSyncExternalStore } from "react";
import { headOf, openShelf } from "./db";
import type { Shelf } from "./db";
import type { Answer, Conversation, Head, Turn } from "./model";

const WRITE_EVERY = 1500;
const HIDDEN_FRAME = 250;

class Store {
  heads: Head[] = [];
  loaded = false;
  /** Why conversations cannot be kept. */
  trouble = "";
  private open = new Map<string, Conversation>();
  private shelf: Promise<Shelf> | null = null;
  private owner = "";
  private watchers = new Set<() => void>();
  private dirty = new Set<string>();
  private frame = false;
  private afterShown: (() => void)[] = [];
  private writing: ReturnType<typeof setTimeout> | undefined;
  private pending = new Map<
    string,
    { conversation: string; changes: ((answer: Answer) => Answer)[] }
  >();

  watch = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  async use(owner: string): Promise<void> {
    if (this.owner === owner) return;
    await this.flush();
    this.owner = owner;
    this.open.clear();
    this.shelf = openShelf(owner);
    const heads = await (await this.shelf).heads();
    this.heads = heads.sort((a, b) => b.updated - a.updated);
    this.loaded = true;
    this.tell();
  }

  get = (id: string | null): Conversation | undefined => (id ? this.open.get(id) : undefined);

  /** Reads one that is not open yet; undefined when there is none. */
  async load(id: string): Promise<Conversation | undefined> {
    const there = this.open.get(id);
    if (there) return there;
    const read = await (await this.shelf)?.read(id);
    if (read && !this.open.has(id)) {
      this.open.set(id, read);
      this.tell();
    }
    return this.open.get(id);
  }

  /** What another tab has written down. */
  async readAgain(id: string): Promise<Conversation | undefined> {
    const read = await (await this.shelf)?.read(id);
    if (read) {
      this.open.set(id, read);
      this.tell();
    }
    return read;
  }

  put(conversation: Conversation): void {
    this.open.set(conversation.id, conversation);
    const rest = this.heads.filter((one) => one.id !== conversation.id);
    this.heads = [headOf(conversation), ...rest].sort((a, b) => b.updated - a.updated);
    this.dirty.add(conversation.id);
    this.soon();
    this.tell();
  }

  change(id: string, how: (conversation: Conversation) => Conversation): void {
    const there = this.open.get(id);
    if (there) this.put(how(there));
  }

  turn(id: string, turn: string, how: (turn: Turn) => Turn): void {
    this.change(id, (one) => ({
      ...one,
      turns: one.turns.map((old) => (old.id === turn ? how(old) : old)),
    }));
  }

  /** Shown with the next frame, together with whatever else comes until then. */
  answer(conversation: string, id: string, how: (answer: Answer) => Answer): void {
    const there = this.pending.get(id);
    if (there) there.changes.push(how);
    else this.pending.set(id, { conversation, changes: [how] });
    if (this.frame) return;
    this.frame = true;
    if (document.hidden) setTimeout(this.show, HIDDEN_FRAME);
    else requestAnimationFrame(this.show);
  }

  /** After the next frame, if one is due. */
  whenShown(then: () => void): void {
    if (this.frame) this.afterShown.push(then);
    else then();
  }

  private show = (): void => {
    this.frame = false;
    const after = this.afterShown;
    this.afterShown = [];
    const pending = this.pending;
    this.pending = new Map();
    for (const [id, { conversation, changes }] of pending) {
      const there = this.open.get(conversation);
      if (!there) continue;
      const changed = (answer: Answer): Answer =>
        answer.id === id ? changes.reduce((one, how) => how(one), answer) : answer;
      this.open.set(conversation, {
        ...there,
        turns: there.turns.map((turn) =>
          turn.lanes.some((lane) => lane.some((one) => one.id === id))
            ? { ...turn, lanes: turn.lanes.map((lane) => lane.map(changed)) }
            : turn,
        ),
      });
      this.dirty.add(conversation);
    }
    this.soon();
    this.tell();
    for (const then of after) then();
  };

  async remove(id: string): Promise<void> {
    this.open.delete(id);
    this.dirty.delete(id);
    this.heads = this.heads.filter((one) => one.id !== id);
    this.tell();
    await (await this.shelf)?.remove(id);
  }

  async rename(id: string, title: string): Promise<void> {
    await this.load(id);
    this.change(id, (one) => ({ ...one, title, named: true }));
  }

  async search(words: string): Promise<Set<string>> {
    await this.flush();
    return (await (await this.shelf)?.search(words)) ?? new Set();
  }

  private soon(): void {
    this.writing ??= setTimeout(() => void this.flush(), WRITE_EVERY);
  }

  /** Writes down what changed. */
  flush = async (): Promise<void> => {
    clearTimeout(this.writing);
    this.writing = undefined;
    const ids = [...this.dirty];
    this.dirty.clear();
    const shelf = await this.shelf;
    for (const id of ids) {
      const there = this.open.get(id);
      if (!there || !shelf) continue;
      try {
        await shelf.write(there);
        if (this.trouble) this.complain("");
      } catch {
        this.complain("This browser cannot keep the conversation: its storage is full or closed.");
      }
    }
  };

  private complain(trouble: string): void {
    this.trouble = trouble;
    this.tell();
  }

  private tell(): void {
    for (const watcher of this.watchers) watcher();
  }
}

export const store = new Store();

export function useHeads(): Head[] {
  return useSyncExternalStore(store.watch, () => store.heads);
}

export function useConversation(id: string | null): Conversation | undefined {
  return useSyncExternalStore(store.watch, () => store.get(id));
}

export function useTrouble(): string {
  return useSyncExternalStore(store.watch, () => store.trouble);
}
