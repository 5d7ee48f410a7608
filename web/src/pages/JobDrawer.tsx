/** One job, live: its place in the queue, then its words as they come. */
import { useEffect, useState } from "react";
import { ask, told } from "../api/http";
import type { Told } from "../api/http";
import { events } from "../api/sse";
import { Markdown } from "../chat/Markdown";
import { Dialog } from "../ui/Dialog";
import { dateTime, number } from "../ui/format";
import { Notice } from "../ui/Notice";
import { Facts } from "../ui/Sheet";
import { useLoad } from "../ui/useLoad";
import { COLOURS } from "./Jobs";
import type { Job } from "./Jobs";

const ENDS = new Set(["done", "error", "expired", "cancelled"]);

interface Live {
  text: string;
  place: string;
}

export function JobDrawer({
  id,
  onClose,
  onChange,
}: {
  id: string;
  onClose: () => void;
  onChange: () => void;
}) {
  const { data: job, error, put } = useLoad<Job>(`/jobs/${encodeURIComponent(id)}`);
  const running = job !== null && (job.status === "queued" || job.status === "processing");
  const [live, setLive] = useState<Live>({ text: "", place: "" });
  const [broken, setBroken] = useState<Told | null>(null);

  useEffect(() => {
    if (!running) return;
    const giveUp = new AbortController();
    const follow = async () => {
      const response = await ask(`/jobs/${encodeURIComponent(id)}/events`, {
        signal: giveUp.signal,
        headers: { Accept: "text/event-stream" },
      });
      setLive({ text: "", place: "" });
      for await (const { event, data } of events(response)) {
        const said = JSON.parse(data) as {
          text?: string;
          position?: number;
          estimated_wait_time?: string;
        } & Partial<Job>;
        if (event === "queued")
          setLive((had) => ({
            ...had,
            place: `Number ${said.position ?? "?"} in the queue${said.estimated_wait_time ? `, ${said.estimated_wait_time}` : ""}`,
          }));
        else if (event === "token")
          setLive((had) => ({ text: had.text + (said.text ?? ""), place: "" }));
        else if (event === "restarted")
          setLive({ text: "", place: "Its worker was lost; it began anew" });
        else if (event === "processing") setLive((had) => ({ ...had, place: "Its turn has come" }));
        else if (ENDS.has(event) && said.id) {
          put(said as Job);
          onChange();
        }
      }
    };
    follow().catch((fault: unknown) => {
      if (!giveUp.signal.aborted) setBroken(told(fault));
    });
    return () => giveUp.abort();
  }, [id, running, put, onChange]);

  return (
    <Dialog drawer title="Job" label="A job" onClose={onClose}>
      <p className="mono hint name-cell">{id}</p>
      {error && <Notice error={error} />}
      {broken && <Notice error={broken} />}
      {job && <State job={job} />}
      {running && live.place && <p role="status">{live.place}</p>}
      {job?.error && (
        <Notice error={{ kind: job.error.type ?? "error", message: job.error.message }} />
      )}
      <div className="prose">
        <Markdown text={job?.answer?.text ?? live.text} whole={!running} />
      </div>
    </Dialog>
  );
}

function State({ job }: { job: Job }) {
  const facts: [string, string][] = [
    ["Model", job.answer?.target ?? job.type],
    ["App", job.app],
    ["Put in", dateTime(job.created_at)],
    ["Begun", dateTime(job.started_at)],
    ["Ended", dateTime(job.ended_at)],
    ["Tokens out", number(job.answer?.usage?.output_tokens)],
  ];
  return (
    <>
      <p>
        <span className={`state ${COLOURS[job.status] ?? ""}`}>{job.status}</span>
      </p>
      <p className="job-question">{job.question}</p>
      <Facts facts={facts} />
    </>
  );
}
