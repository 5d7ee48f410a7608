/** Which tab hears an answer. An answer has one reader; a second tab waits and reads what the first
 * has written down. */
const NOBODY_ELSE = (): void => undefined;

/** Gives what lets go of it, or null where another tab has it. */
export function hold(id: string): Promise<(() => void) | null> {
  const locks = locksOf();
  if (!locks) return Promise.resolve(NOBODY_ELSE);
  return new Promise((resolve) => {
    void locks.request(name(id), { ifAvailable: true }, (lock) => {
      if (!lock) {
        resolve(null);
        return undefined;
      }
      return new Promise<void>((release) => resolve(release));
    });
  });
}

/** Until the other tab lets go, or is closed. */
export async function untilFree(id: string): Promise<void> {
  await locksOf()?.request(name(id), () => undefined);
}

function name(id: string): string {
  return `pointsman-answer-${id}`;
}

/** Over plain http on another machine a browser has none. */
function locksOf(): LockManager | undefined {
  return (navigator as Partial<Navigator>).locks;
}
