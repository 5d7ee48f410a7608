/** Conversations in IndexedDB, each caller's in a database of his own. Heads are read at once;
 * a whole conversation only when it is opened. Without IndexedDB all is kept for this page's life. */
import type { Conversation, Head } from "./model";

const HEADS = "heads";
const BODIES = "bodies";

export interface Shelf {
  heads(): Promise<Head[]>;
  read(id: string): Promise<Conversation | undefined>;
  write(conversation: Conversation): Promise<void>;
  remove(id: string): Promise<void>;
  /** Ids of the conversations in which the words stand, title or text. */
  search(words: string): Promise<Set<string>>;
}

export async function openShelf(owner: string): Promise<Shelf> {
  try {
    return kept(await database(`pointsman-${owner}`));
  } catch {
    return unkept();
  }
}

function database(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(name, 1);
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore(HEADS, { keyPath: "id" });
      opening.result.createObjectStore(BODIES, { keyPath: "id" });
    };
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error ?? new Error("no database"));
    opening.onblocked = () => reject(new Error("the database is blocked"));
  });
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("the database failed"));
  });
}

function ended(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = transaction.onerror = () =>
      reject(transaction.error ?? new Error("the database failed"));
  });
}

function kept(db: IDBDatabase): Shelf {
  return {
    heads: () => result(db.transaction(HEADS).objectStore(HEADS).getAll() as IDBRequest<Head[]>),
    read: (id) =>
      result(
        db.transaction(BODIES).objectStore(BODIES).get(id) as IDBRequest<Conversation | undefined>,
      ),
    async write(conversation) {
      const transaction = db.transaction([HEADS, BODIES], "readwrite");
      transaction.objectStore(HEADS).put(headOf(conversation));
      transaction.objectStore(BODIES).put(conversation);
      await ended(transaction);
    },
    async remove(id) {
      const transaction = db.transaction([HEADS, BODIES], "readwrite");
      transaction.objectStore(HEADS).delete(id);
      transaction.objectStore(BODIES).delete(id);
      await ended(transaction);
    },
    search: (words) =>
      new Promise((resolve, reject) => {
        const found = new Set<string>();
        const walk = db.transaction(BODIES).objectStore(BODIES).openCursor();
        walk.onerror = () => reject(walk.error ?? new Error("the database failed"));
        walk.onsuccess = () => {
          const cursor = walk.result;
          if (!cursor) {
            resolve(found);
            return;
          }
          const one = cursor.value as Conversation;
          if (has(one, words)) found.add(one.id);
          cursor.continue();
        };
      }),
  };
}

function unkept(): Shelf {
  const all = new Map<string, Conversation>();
  return {
    heads: async () => [...all.values()].map(headOf),
    read: async (id) => all.get(id),
    write: async (conversation) => void all.set(conversation.id, conversation),
    remove: async (id) => void all.delete(id),
    search: async (words) =>
      new Set([...all.values()].filter((one) => has(one, words)).map((one) => one.id)),
  };
}

export function headOf({ id, title, named, created, updated }: Conversation): Head {
  return { id, title, named, created, updated };
}

function has(conversation: Conversation, words: string): boolean {
  const text = [
    conversation.title,
    ...conversation.turns.flatMap((turn) => [
      turn.text,
      ...turn.lanes.flat().map((one) => one.text),
    ]),
  ]
    .join("\n")
    .toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
