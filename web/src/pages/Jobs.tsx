/** Questions that are answered later: put in, followed in the queue, cancelled, found again. */
import { useEffect, useState } from "react";
import { get, send, told } from "../api/http";
import type { Told } from "../api/http";
import { ModelPicker } from "../chat/ModelPicker";
import { go, useQuery } from "../router";
import { dateTime } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Panel, Sheet } from "../ui/Sheet";
import { useLoad } from "../ui/useLoad";
import { JobDrawer } from "./JobDrawer";

export interface Job {
  id: string;
  number?: number;
  status: "queued" | "processing" | "completed" | "error" | "expired" | "cancelled";
  app: string;
  type: string;
  /** How it begins. */
  question: string;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  attempts: number;
  position?: number;
  estimated_wait_time?: string;
  answer?: {
    text: string;
    model: string | null;
    target: string | null;
    usage: { output_tokens: number | null } | null;
  };
  error?: { message: string; type?: string; code?: string | null };
}

interface List {
  data: Job[];
  next_before: number | null;
}

const STATES = ["queued", "processing", "completed", "error", "expired", "cancelled"];
const AGAIN_MS = 2500;
const PAGE = 50;
export const COLOURS: Record<string, string> = {
  completed: "good",
  processing: "warn",
  error: "bad",
  expired: "bad",
};

export default function Jobs() {
  const open = useQuery("job");
  const [status, setStatus] = useState("");
  const [words, setWords] = useState("");
  const [older, setOlder] = useState<Job[]>([]);
  const [next, setNext] = useState<number | null>(null);
  const query = new URLSearchParams({
    limit: String(PAGE),
    ...(status && { status }),
    ...(words.trim() && { q: words.trim() }),
  }).toString();
  const { data, error, again } = useLoad<List>(`/jobs?${query}`, AGAIN_MS);
  useEffect(() => {
    setOlder([]);
    setNext(null);
  }, [query]);
  const newest = data?.data ?? [];
  const known = new Set(newest.map((job) => job.id));
  const jobs = [...newest, ...older.filter((job) => !known.has(job.id))];
  const before = next ?? (newest.length === PAGE ? (data?.next_before ?? null) : null);
  const more = async () => {
    const page = await get<List>(`/jobs?${query}&before=${before ?? ""}`);
    setOlder([...older, ...page.data]);
    setNext(page.data.length === PAGE ? page.next_before : 0);
  };
  return (
    <Sheet
      title="Jobs"
      about="A job waits its turn and is answered when there is room; the page may be left meanwhile."
    >
      <Put onPut={again} />
      <Panel
        title="The queue, and what came of it"
        side={
          <div className="filters">
            <input
              type="search"
              value={words}
              placeholder="Search"
              aria-label="Search jobs"
              onChange={(event) => setWords(event.target.value)}
            />
            <select
              aria-label="Status"
              value={status}
              onChange={(event) => setStatus(event.target.value)}
            >
              <option value="">every status</option>
              {STATES.map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </div>
        }
      >
        {error && <Notice error={error} />}
        {jobs.length > 0 && <Table jobs={jobs} onChange={again} />}
        {data && !jobs.length && (
          <p className="nothing">
            {query.includes("q=") || status ? "No job like that." : "No job was put in yet."}
          </p>
        )}
        {!!before && (
          <p>
            <button type="button" className="button small" onClick={() => void more()}>
              Older jobs
            </button>
          </p>
        )}
      </Panel>
      {open && <JobDrawer id={open} onClose={() => go("/jobs", true)} onChange={again} />}
    </Sheet>
  );
}

function Put({ onPut }: { onPut: () => void }) {
  const [text, setText] = useState("");
  const [model, setModel] = useState("auto");
  const [many, setMany] = useState(false);
  const [error, setError] = useState<Told | null>(null);
  const [done, setDone] = useState("");
  const questions = many
    ? text
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean)
    : [text.trim()].filter(Boolean);
  const put = async () => {
    setError(null);
    setDone("");
    try {
      if (many) {
        const rows = questions.map((message) => ({ message, model }));
        const { queued } = await send<{ queued: number }>("POST", "/jobs/batch", rows);
        setDone(`${queued} of ${rows.length} put in.`);
      } else {
        const job = await send<Job>("POST", "/jobs", { message: questions[0], model });
        setDone(
          job.position
            ? `Put in; it is number ${job.position}${job.estimated_wait_time ? `, ${job.estimated_wait_time}` : ""}.`
            : "Put in.",
        );
      }
      setText("");
      onPut();
    } catch (fault) {
      setError(told(fault));
    }
  };
  return (
    <form
      className="form"
      onSubmit={(event) => {
        event.preventDefault();
        if (questions.length) void put();
      }}
    >
      <textarea
        rows={many ? 4 : 2}
        value={text}
        aria-label={many ? "Questions, one a line" : "A question for later"}
        placeholder={many ? "One question a line" : "A question for later"}
        onChange={(event) => setText(event.target.value)}
      />
      {error && <Notice error={error} />}
      <div className="acts">
        <button type="submit" className="button first" disabled={!questions.length}>
          {many && questions.length > 1 ? `Put in ${questions.length} jobs` : "Put in a job"}
        </button>
        <ModelPicker value={model} onChoose={setModel} label="Model of the job" below />
        <label>
          <input
            type="checkbox"
            checked={many}
            onChange={(event) => setMany(event.target.checked)}
          />{" "}
          one a line
        </label>
        <span role="status">{done}</span>
      </div>
    </form>
  );
}

function Table({ jobs, onChange }: { jobs: Job[]; onChange: () => void }) {
  const [error, setError] = useState<Told | null>(null);
  const cancel = async (id: string) => {
    setError(null);
    try {
      await send("DELETE", `/jobs/${encodeURIComponent(id)}`);
      onChange();
    } catch (fault) {
      setError(told(fault));
    }
  };
  return (
    <>
      {error && <Notice error={error} />}
      <div className="grid-box" tabIndex={0} role="region" aria-label="Jobs">
        <table className="plain stacked">
          <thead>
            <tr>
              <th>Status</th>
              <th>Question</th>
              <th>Model</th>
              <th>App</th>
              <th>Put in</th>
              <th>Ended</th>
              <th>
                <span className="off-screen">What to do</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {jobs.map((job) => (
              <tr key={job.id}>
                <td data-name="Status">
                  <span className={`state ${COLOURS[job.status] ?? ""}`}>{job.status}</span>
                </td>
                <td data-name="Question" className="asked-cell">
                  <button
                    type="button"
                    className="link"
                    title={job.question}
                    onClick={() => go(`/jobs?job=${job.id}`)}
                  >
                    {job.question || job.id.slice(0, 10)}
                  </button>
                </td>
                <td data-name="Model" className="name-cell">
                  {job.answer?.target ?? job.type}
                </td>
                <td data-name="App" className="name-cell">
                  {job.app}
                </td>
                <td data-name="Put in" className="when">
                  {dateTime(job.created_at)}
                </td>
                <td data-name="Ended" className="when">
                  {dateTime(job.ended_at)}
                </td>
                <td>
                  {(job.status === "queued" || job.status === "processing") && (
                    <div className="acts">
                      <button
                        type="button"
                        className="button small danger"
                        onClick={() => void cancel(job.id)}
                      >
                        Cancel
                      </button>
                    </div>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
