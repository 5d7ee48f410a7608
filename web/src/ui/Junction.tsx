/** The mark of the house: a line that divides. The branch that was taken has the tier's colour. */
const MAIN = "M4 12 H20";
const BRANCH = "M4 12 H8 C13 12 12 5 17 5 H20";
const OTHER = "M4 12 H8 C13 12 12 19 17 19 H20";

export function Junction({ tier, size = 20 }: { tier?: string | null; size?: number }) {
  const taken =
    tier === "strong" ? BRANCH : tier === "local" ? OTHER : tier === "named" ? MAIN : null;
  return (
    <svg className="junction" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true">
      {[BRANCH, OTHER].map(
        (path) => path !== taken && <path key={path} className="idle" d={path} />,
      )}
      {taken && <path className="taken" d={taken} />}
    </svg>
  );
}

/** In the brand both lines are live. */
export function Mark({ size = 26 }: { size?: number }) {
  return (
    <svg className="junction" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true">
      <path d={BRANCH} stroke="var(--strong)" />
      <path d={OTHER} stroke="var(--local)" />
      <circle cx="4" cy="12" r="2" fill="var(--ink)" stroke="none" />
    </svg>
  );
}
