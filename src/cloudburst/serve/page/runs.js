// All runs of this server: search, filter, rename, resume, delete.

import { call, get, post } from "./api.js";
import { ask, button, h, icon, segments, square } from "./dom.js";
import { go } from "./parts.js";
import { problemBox } from "./problems.js";
import { PILLS } from "./run.js";
import { bill, moment, month, named, t } from "./text.js";

const FILTERS = { all: [], active: ["queued", "running"], complete: ["complete"], problems: ["partial", "failed", "budget", "cancelled"] };
const SEARCH_DELAY = 250, LIST_INTERVAL = 5000; // milliseconds

export const runs = { jobs: null, months: [], next: null, search: "", filter: "all", problem: null, active: 0, changed: () => {} };
let timer = 0, number = 0;

/** Read the list now, and again every few seconds while it is shown. */
export function watchRuns(isShown) {
  clearInterval(timer);
  if (!isShown) return;
  list();
  timer = setInterval(() => document.hidden || list(), LIST_INTERVAL);
}

async function list(cursor) {
  const query = new URLSearchParams(FILTERS[runs.filter].map(state => ["state", state]));
  if (runs.search) query.set("search", runs.search);
  if (cursor) query.set("cursor", cursor);
  const own = ++number;
  try {
    const { jobs, next, months } = await get(`api/jobs?${query}`);
    if (own !== number) return;
    Object.assign(runs, { jobs: cursor ? [...runs.jobs, ...jobs] : jobs, next, months: months ?? [], problem: null });
  } catch (problem) {
    if (problem.code !== "offline") runs.problem = problem;
  }
  runs.changed();
}

let delay = 0;
function search(text) {
  runs.search = text;
  clearTimeout(delay);
  delay = setTimeout(list, SEARCH_DELAY);
}

async function act(request) {
  try {
    await request();
  } catch (problem) {
    runs.problem = problem;
  }
  await list();
}

async function rename(job) {
  let name = job.name;
  const input = h("input", { type: "text", maxlength: 200, value: job.name, "aria-label": t("name"), oninput: event => { name = event.target.value; } });
  if (await ask(t("rename.title"), [input], [["", t("back")], ["rename", t("rename"), "main"]])) await act(() => call("PATCH", `api/jobs/${job.id}`, { name }));
}

async function remove(job) {
  const text = job.destination ? t("delete.text.s3") : t("delete.text", { n: job.completed });
  if (await ask(t("delete.title", { name: job.name || moment(job.created_at) }), [h("p", null, text)], [["", t("keep")], ["delete", t("delete"), "bad"]])) await act(() => call("DELETE", `api/jobs/${job.id}`));
}

export function runsView() {
  const { jobs, months, problem } = runs;
  return [
    h("div", { class: "head" }, h("div", null, h("h1", null, t("runs")), months.length > 0 && h("p", null, months.slice(0, 3).map(one => t("month", { month: month(one.month), usd: Number(one.usd) ? bill(one.usd) : t("free"), runs: t("runs.n", { n: one.jobs }) })).join(t("semicolon"))))),
    h("div", { class: "filters" },
      h("input", { type: "search", value: runs.search, "aria-label": t("search"), placeholder: t("search"), oninput: event => search(event.target.value) }),
      segments("filter", t("state"), Object.keys(FILTERS).map(name => [name, t(`filter.${name}`)]), runs.filter, name => { runs.filter = name; list(); })),
    problem && problemBox(problem),
    jobs === null ? h("p", { class: "muted", role: "status" }, t("loading")) : jobs.length === 0 ? h("div", { class: "card none" }, h("p", { class: "muted" }, runs.search || runs.filter !== "all" ? t("runs.none.found") : t("runs.none")), button(t("new"), () => go("#/"), { kind: "main", symbol: "plus" })) : h("div", { class: "card flush" }, h("ol", { class: "runs", "aria-label": t("runs") }, jobs.map(row))),
    runs.next && h("p", { class: "row" }, button(t("more"), () => list(runs.next))),
  ];
}

function row(job) {
  const name = job.name || moment(job.created_at), kind = PILLS[job.state], isOver = job.finished_at !== null;
  const usd = job.cost ? bill(job.cost.usd) : t("free");
  return h("li", { key: job.id },
    h("span", { class: "thumb" }, job.cover ? h("img", { src: `api/jobs/${job.id}/videos/${encodeURIComponent(job.cover)}`, alt: "", loading: "lazy" }) : icon("picture")),
    h("div", null, h("h2", null, h("a", { href: `#/run/${job.id}` }, name)), h("p", { class: "small muted" }, moment(job.created_at))),
    h("div", { class: "state" }, h("span", { class: `pill ${kind}` }, kind === "now" && h("span", { class: "dot" }), job.state === "partial" ? t("failed.n", { n: job.failed }) : t(`state.${job.state}`))),
    h("p", { class: "v done" }, t("scenes.of", { done: job.completed, n: job.scenes })),
    h("p", { class: "v" }, usd, h("small", null, job.place ? named("place", job.place) : "")),
    h("div", { class: "row" },
      job.resumable && square("again", t("resume.of", { name }), () => act(() => post(`api/jobs/${job.id}/resume`))),
      job.state === "complete" && job.film && h("a", { class: "btn quiet square", href: `api/jobs/${job.id}/film?download`, download: "", "aria-label": t("film.of", { name }), title: t("film.of", { name }) }, icon("download")),
      square("pencil", t("rename.of", { name }), () => rename(job)),
      isOver && square("trash", t("delete.of", { name }), () => remove(job))));
}
