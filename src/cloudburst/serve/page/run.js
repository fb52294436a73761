// The open run: what each scene waits for while it renders, and its film, videos and bill afterwards.

import { call, get, lose, post } from "./api.js";
import { ask, button, h, icon, linkButton } from "./dom.js";
import { upload } from "./draft.js";
import { choose } from "./files.js";
import { ENDINGS } from "./pairing.js";
import { hide, retake } from "./parts.js";
import { describe, detailsOf, problemBox, remedyOf } from "./problems.js";
import { billCard, stat } from "./result.js";
import { server } from "./server.js";
import { bill, bytes, cap, clock, duration, facts, forecast, moment, named, percent, t } from "./text.js";
import { timeline } from "./timeline.js";

const REFRESH_DELAY = 400; // milliseconds in which events are collected before the scenes are read again
const LOG_LINES = 12, REPLAYED_EVENTS = 40;
const MAX_TILES = 200; // while more scenes render, they are squares, with tiles of failed and current ones
const ROLES = ["image", "audio", "subtitle"];
export const PILLS = { queued: "now", running: "now", complete: "ok", partial: "bad", failed: "bad", budget: "warn", cancelled: "" };
const isOver = job => !["queued", "running"].includes(job.state);

export const run = { id: null, changed: () => {}, ended: () => {} };
let source = null, timer = 0, ticker = 0, isReading = false;

/** Show a run; nothing if it is shown already. */
export function openRun(id) {
  if (run.id === id) return;
  closeRun();
  Object.assign(run, { id, job: null, scenes: [], live: null, report: null, videos: [], chapters: [], log: [], problem: null, playing: null, chapter: 0, tasks: new Map(), replaced: {}, retried: new Set(), leftOut: new Set(), receivedAt: 0, isBusy: false });
  reload();
}

export function closeRun() {
  pause();
  run.id = null;
}

/** Follow no events, for example while the tab is hidden: browsers open few connections to a server. */
export function pause() {
  source?.close();
  clearTimeout(timer);
  clearInterval(ticker);
  [source, timer] = [null, 0];
}

/** Read the whole state of the run from the server, and follow its events. */
export async function reload() {
  const { id } = run;
  try {
    await refresh();
    if (id !== run.id) return;
    if (isOver(run.job)) await readResult();
    else follow();
  } catch (problem) {
    if (id === run.id && problem.code !== "offline") run.problem = problem;
  }
  run.changed();
}

async function refresh() {
  const { id } = run, path = `api/jobs/${id}`;
  const [job, { scenes }] = await Promise.all([get(path), get(`${path}/scenes`)]);
  if (id === run.id) Object.assign(run, { job, scenes, problem: null, live: job.live ?? run.live, receivedAt: performance.now() });
}

async function readResult() {
  const { job, id } = run, path = `api/jobs/${id}`;
  if (job.completed + job.failed === 0) return;
  const [report, { videos }] = await Promise.all([get(`${path}/report`), get(`${path}/videos`)]);
  const cues = report.film ? await (await call("GET", `${path}/film/chapters.vtt`, undefined, { raw: true })).text() : "";
  if (id === run.id) Object.assign(run, { report, videos, chapters: chaptersOf(cues) });
}

const secondsOf = text => text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
const plain = text => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
const chaptersOf = text => [...text.matchAll(/^([\d:.]+) --> ([\d:.]+).*\n(.*)$/gm)].map(([, at, until, title]) => ({ at: secondsOf(at), until: secondsOf(until), title: plain(title) }));

function follow() {
  pause();
  ticker = setInterval(() => run.changed(), 1000);
  source = new EventSource(`api/jobs/${run.id}/events?after=${Math.max(0, run.job.last_event - REPLAYED_EVENTS)}`);
  source.onerror = () => {
    source.close(); // the page connects again, and reads the whole state first
    lose();
  };
  source.addEventListener("job.progress", event => {
    run.live = JSON.parse(event.data);
    run.receivedAt = performance.now();
    for (const scene of run.scenes) {
      const progress = run.live.encodes[scene.scene];
      if (progress !== undefined && scene.state !== "done") Object.assign(scene, { state: "encoding", progress });
    }
    run.changed();
  });
  for (const type of ["job.started", "job.interrupted", "job.finished", "worker.launched", "worker.ready", "worker.failed", "worker.stopped", "scene.started", "scene.uploaded", "scene.encoding", "scene.encoded", "scene.retried", "scene.completed", "scene.failed", "film.completed", "film.failed"]) {
    source.addEventListener(type, event => note(type, event));
  }
}

function note(type, event) {
  const data = JSON.parse(event.data);
  if (type === "scene.retried") run.retried.add(data.scene);
  else run.retried.delete(data.scene);
  if (data.task && !run.tasks.has(data.task)) run.tasks.set(data.task, run.tasks.size + 1);
  const values = { scene: data.scene, worker: run.tasks.get(data.task) ?? "", reason: data.message ?? "" };
  const key = `log.${type}`;
  if (t(key) !== key) run.log = [{ number: event.lastEventId, at: (Date.parse(data.time) - Date.parse(run.job.started_at ?? data.time)) / 1000, text: t(key, values), isBad: type.endsWith("failed") }, ...run.log.filter(one => one.number !== event.lastEventId)].slice(0, LOG_LINES);
  if (type === "job.finished") {
    pause();
    run.ended();
    return void reload();
  }
  if (!timer) timer = setTimeout(refreshSoon, REFRESH_DELAY);
}

async function refreshSoon() {
  timer = 0;
  if (isReading || !run.id) return;
  isReading = true;
  await refresh().catch(() => {});
  isReading = false;
  run.changed();
}

/** Do something with the run, and show the problem if it fails. */
async function act(request) {
  run.isBusy = true;
  run.changed();
  try {
    await request();
    await reload();
  } catch (problem) {
    run.problem = problem;
  }
  run.isBusy = false;
  run.changed();
}

async function cancel() {
  const text = t("cancel.text", { n: run.job.completed });
  const chosen = await ask(t("cancel.title"), [h("p", null, text), run.job.cost && h("p", null, t("cancel.bill", { usd: bill(run.job.cost.usd) })), h("p", null, t("cancel.resume"))].filter(Boolean), [["", t("go.on")], ["cancel", t("cancel.run"), "bad"]]);
  if (chosen) await act(() => post(`${path()}/cancel`));
}

const path = () => `api/jobs/${run.id}`;

/** Resume the run with the files that were replaced, and without the scenes that are left out. */
export function resume() {
  const scenes = Object.entries(run.replaced).map(([name, files]) => ({ name, ...Object.fromEntries(Object.entries(files).map(([role, file]) => [role, file.id])) }));
  return act(async () => {
    await post(`${path()}/resume`, { ...(scenes.length && { scenes }), ...(run.leftOut.size && { leave_out: [...run.leftOut] }) });
    Object.assign(run, { replaced: {}, leftOut: new Set(), report: null, videos: [] });
  });
}

export function runView() {
  const { job, problem } = run;
  if (!job) return [problem ? problemBox(problem) : h("p", { class: "muted", role: "status" }, t("loading"))];
  return [
    heading(),
    h("div", { class: "stack wide" }, problem && problemBox(problem), job.error && !(job.error.code === "film" && needsRemedy()) && problemBox(errorOfRun(job)), isOver(job) ? result() : progress()),
  ];
}

function heading() {
  const { job, report } = run, kind = PILLS[job.state];
  const isStarting = job.state === "running" && run.live && run.live.workers.length > 0 && run.live.workers.every(worker => worker.state === "starting");
  const word = job.cancel_requested && !isOver(job) ? t("state.cancelling") : isStarting ? t("state.starting") : t(`state.${job.state}`);
  const film = report?.film && !job.destination;
  const again = retake(job.id);
  return h("div", { class: "head" },
    h("div", null,
      h("div", { class: "row" }, h("h1", null, job.name || moment(job.created_at)), h("span", { class: `pill ${kind}` }, kind === "now" ? h("span", { class: "dot" }) : kind === "ok" && icon("check", true), word)),
      h("p", null, isOver(job) ? summary() : isStarting && run.live.workers.some(worker => worker.place === "fargate") ? t("aws.starts") : job.state === "queued" ? t("waits.turn") : t("may.close"))),
    h("div", { class: "row" }, isOver(job)
      ? [report?.film && linkButton(t("film"), `${path()}/film?download`, { kind: "main", symbol: "download", download: "" }),
        !job.destination && job.completed > 0 && linkButton(t("videos.zip"), `${path()}/videos.zip`, { download: "" }),
        job.resumable && job.failed === 0 && !needsRemedy() && button(t("resume"), resume, { kind: film ? "" : "main", symbol: "again", disabled: run.isBusy }),
        again && button(t("another.look"), again, { kind: "quiet" })]
      : button(t("cancel"), cancel, { kind: "bad", disabled: job.cancel_requested || run.isBusy })));
}

/** Return the fault of a scene because of which nothing of the run was rendered. */
const faultOf = scene => isOver(run.job) && run.job.error?.faults.find(fault => fault.scene === scene.scene);
const failedScenes = () => run.scenes.filter(scene => scene.state === "failed" || faultOf(scene));
/** Return the error of the run without the faults of its scenes, which are shown at these. */
const errorOfRun = ({ error }) => ({ ...error, faults: error.faults.filter(fault => !run.scenes.some(scene => scene.scene === fault.scene)) });
const needsRemedy = () => failedScenes().length > 0;

function summary() {
  const { job, report } = run;
  const seconds = run.chapters.at(-1)?.until ?? run.videos.reduce((sum, video) => sum + video.seconds, 0);
  return facts(t("videos.n", { n: job.completed }), report?.film ? t("film.of.time", { time: duration(seconds) }) : seconds && duration(seconds), report && t("took", { time: duration(report.wall_seconds) }));
}

// While it renders

function progress() {
  const { job, live, scenes, log } = run, workers = live?.workers ?? [];
  const passed = live ? live.at + (performance.now() - run.receivedAt) / 1000 : 0;
  const left = live?.seconds_left == null ? null : Math.max(0, live.seconds_left - (performance.now() - run.receivedAt) / 1000);
  const usd = live?.usd ?? job.cost?.usd, limit = live?.max_usd ?? job.max_usd;
  const film = live && live.done === live.scenes ? live.film : null;
  const size = workers.find(worker => worker.size)?.size;
  const places = [...new Set(workers.map(worker => worker.place))].map(place => named("place", place)).join(" + ");
  return [
    h("div", { class: "card flush" },
      h("dl", { class: "stats", "aria-label": t("run.state") },
        stat(t("videos"), [live?.done ?? job.completed, h("small", null, ` / ${live?.scenes ?? job.scenes}`)], job.failed ? t("failed.n", { n: job.failed }) : t("none.failed")),
        stat(t("time.left"), left === null ? "–" : [t("about", { time: duration(Math.ceil(left)) }), live.film === 0 && h("small", null, ` ${t("plus.film")}`)], live ? t("so.far", { time: duration(Math.floor(passed)) }) : ""),
        stat(t("bill.so.far"), usd == null ? t("free") : bill(usd), limit == null ? "" : t("limit", { usd: cap(limit) })),
        stat(t("workers"), [workers.filter(worker => worker.state !== "starting").length, workers.length > 0 && h("small", null, ` / ${workers.length}`)], facts(size, places))),
      cells(),
      film !== null && h("p", { class: "film-line" }, h("span", null, t("film.made", { share: percent(film) })), h("progress", { max: 1, value: film, "aria-label": t("film") }))),
    h("div", { class: "split" },
      h("div", { class: "stack" }, failedScenes().slice(0, 3).map(failure), h("h2", null, t("scenes")), tiles(scenes)),
      h("aside", { class: "stack", "aria-label": t("workers.messages") },
        h("div", { class: "card" }, h("h2", null, t("workers")), workers.length ? workers.slice(0, 40).map(lane) : h("p", { class: "muted small" }, t("no.workers"))),
        h("div", { class: "card" }, h("h2", null, t("messages")), h("div", { role: "log", "aria-label": t("messages") }, h("ol", { class: "stack tight small" }, log.map(line => h("li", { key: line.number, class: line.isBad ? "bad" : "" }, h("span", { class: "muted num" }, clock(Math.max(0, line.at))), " ", line.text))))))),
  ];
}

const classOf = scene => ({ done: "done", failed: "bad" })[scene.state] ?? "";

function cells() {
  const counts = Object.groupBy ? Object.entries(Object.groupBy(run.scenes, scene => scene.state)).map(([state, some]) => `${t(`scene.${state}`)}: ${some.length}`) : [];
  return h("div", { class: run.scenes.length > MAX_TILES ? "cells dense" : "cells", role: "img", "aria-label": counts.join(t("comma")) || t("scenes") }, run.scenes.map(scene => h("i", { key: scene.scene, class: classOf(scene), title: scene.scene, style: { "--v": `${Math.round((scene.state === "waiting" ? 0 : scene.progress ?? 0) * 100)}%` } })));
}

function tiles(scenes) {
  const shown = scenes.length > MAX_TILES ? scenes.filter(scene => !(isOver(run.job) ? ["waiting"] : ["waiting", "done"]).includes(scene.state)) : scenes;
  return h("ol", { class: "grid" }, shown.map(tile));
}

function tile(scene) {
  const busy = ["uploading", "encoding", "downloading"].includes(scene.state);
  const kind = busy ? "busy" : { waiting: "wait", failed: "failed" }[scene.state] ?? "";
  const video = run.videos.find(one => one.scene === scene.scene), url = video?.url ?? scene.url;
  const picture = scene.cover_url ?? scene.picture_url;
  const isPlaying = url && run.playing === scene.scene;
  const share = scene.state === "encoding" ? scene.progress : scene.state === "downloading" ? 1 : 0;
  const seconds = scene.seconds ?? video?.seconds;
  return h("li", { key: scene.scene, class: `tile ${kind}` },
    h("div", { class: "thumb" },
      isPlaying ? h("video", { src: url, controls: true, autoplay: true, playsinline: true, "aria-label": scene.scene }) : picture ? h("img", { src: picture, alt: "", loading: "lazy", onerror: hide }) : icon("picture"),
      busy && h("span", { class: "mid" }, percent(share)), busy && h("progress", { max: 1, value: share, "aria-label": scene.scene }),
      url && !isPlaying && h("button", { type: "button", class: "play", "aria-label": t("play", { name: scene.scene }), onclick: () => { run.playing = scene.scene; run.changed(); } }, h("span", null, icon("play"))),
      !busy && !isPlaying && seconds && h("span", { class: "len" }, clock(Math.round(seconds)))),
    h("p", { class: "name", title: scene.scene }, scene.title || scene.scene),
    h("div", { class: "row between say-row" }, h("p", { class: `say ${busy ? "now" : scene.state === "done" ? "ok" : scene.state === "failed" ? "bad" : ""}` }, !busy && icon({ done: "check", failed: "warn" }[scene.state] ?? "clock", true), h("span", null, video ? bytes(video.size) : sayOf(scene))),
      video && h("a", { class: "btn quiet square", href: `${video.url}?download`, download: "", "aria-label": t("download", { name: scene.scene }) }, icon("download"))),
    video?.warnings.map(text => h("p", { class: "small warning" }, icon("warn", true), text)));
}

function sayOf(scene) {
  if (scene.state === "waiting" && isOver(run.job)) return t("scene.never");
  const worker = !isOver(run.job) && run.live?.workers.find(one => one.scenes.includes(scene.scene))?.number;
  if (worker && ["waiting", "uploading", "encoding", "downloading"].includes(scene.state)) return t(`scene.${scene.state}.on`, { worker });
  if (scene.state === "waiting" && run.retried.has(scene.scene)) return t("scene.again");
  return t(`scene.${scene.state}`);
}

function lane(worker) {
  const scenes = worker.scenes.map(name => run.scenes.find(scene => scene.scene === name)).filter(Boolean);
  const share = scenes.length ? scenes.reduce((sum, scene) => sum + (scene.progress ?? 0), 0) / scenes.length : undefined;
  const isBusy = worker.state === "encoding";
  return h("div", { class: "lane", key: worker.number },
    h("div", { class: "row between" }, h("h3", null, t("worker.n", { n: worker.number })), h("span", { class: "small muted" }, worker.size || named("place", worker.place))),
    worker.state === "idle" ? h("div", { class: "still" }) : isBusy ? h("progress", { max: 1, value: share ?? 0, "aria-label": t("worker.n", { n: worker.number }) }) : h("progress", { key: "open", "aria-label": t("worker.n", { n: worker.number }) }),
    h("p", { class: "small muted" }, worker.scenes.length ? t("colon", { what: t(`worker.${worker.state}`), text: worker.scenes.join(t("comma")) }) : t(`worker.${worker.state}`)));
}

// Failed scenes

function failure(scene) {
  const isFinished = isOver(run.job), replaced = run.replaced[scene.scene] ?? {}, isOut = run.leftOut.has(scene.scene);
  const problem = { code: "invalid", fix: "", message: "", ...(scene.error ?? faultOf(scene)) };
  const replace = role => choose(async input => {
    try {
      run.replaced[scene.scene] = { ...replaced, [role]: await upload(input.files[0]) };
      run.leftOut.delete(scene.scene);
    } catch (problem) {
      run.problem = problem;
    }
    run.changed();
  }, { endings: ENDINGS[role] });
  const toggleOut = () => {
    if (!run.leftOut.delete(scene.scene)) run.leftOut.add(scene.scene);
    run.changed();
  };
  return h("div", { class: "call bad", key: `failed-${scene.scene}`, role: "alert" }, icon("warn"), h("div", null,
    h("h2", null, t("has.failed", { name: scene.scene })),
    h("p", null, describe(problem)), remedyOf(problem), detailsOf(problem),
    Object.entries(replaced).map(([role, file]) => h("p", { class: "small" }, icon("check", true), ` ${t(`replace.${role}`)}: ${file.name}`)),
    isFinished && run.job.resumable && h("div", { class: "row" }, ROLES.map(role => button(t(`replace.${role}`), () => replace(role))), button(isOut ? t("take.in") : t("leave.out"), toggleOut, { kind: "quiet", "aria-pressed": String(isOut) })),
    !isFinished && h("p", { class: "small" }, t("others.go.on"))));
}

// Afterwards

function result() {
  const { job, report, scenes } = run;
  const remedies = Object.keys(run.replaced).length + run.leftOut.size;
  return [
    failedScenes().slice(0, 20).map(failure),
    needsRemedy() && job.resumable && h("div", { class: "dock", key: "dock" }, h("p", null, remedies ? t("remedies.n", { n: remedies }) : t("resume.text")), button(t("resume"), resume, { kind: "main", symbol: "again", disabled: run.isBusy })),
    report?.film && player(),
    report?.film_error && !job.error && h("div", { class: "call bad", role: "alert" }, icon("warn"), h("p", null, t("film.failed"), " ", report.film_error)),
    h("div", { class: "split" },
      h("div", { class: "stack" }, h("h2", null, t("videos")), tiles(scenes)),
      report && h("aside", { class: "stack", "aria-label": t("bill") }, billCard(report, job.cost ?? report.cost), timeCard())),
    report && report.workers.length > 0 && h("div", { class: "card", key: "timeline" }, timeline(report)),
  ];
}

function player() {
  const film = `${path()}/film`;
  const seek = event => {
    const now = run.chapters.findLastIndex(chapter => chapter.at <= event.target.currentTime + 0.05);
    if (now === run.chapter) return;
    run.chapter = now;
    run.changed();
  };
  const jump = at => () => {
    const video = document.getElementById("film");
    video.currentTime = at;
    video.play();
  };
  return h("div", { class: "card flush watch", key: "film" },
    h("div", { class: "thumb" }, h("video", { id: "film", src: film, poster: `${film}/cover`, controls: true, preload: "metadata", playsinline: true, "aria-label": t("film"), ontimeupdate: seek },
      h("track", { kind: "captions", src: `${film}/subtitles.vtt`, label: t("subtitles") }), h("track", { kind: "chapters", src: `${film}/chapters.vtt`, default: true }))),
    run.chapters.length > 0 && h("nav", { class: "chapters", "aria-label": t("chapters") }, h("ol", null, run.chapters.map((chapter, place) => {
      const scene = run.scenes.find(one => (one.title || one.scene) === chapter.title), picture = scene?.cover_url ?? scene?.picture_url;
      return h("li", null, h("button", { type: "button", "aria-current": run.chapter === place ? "true" : null, onclick: jump(chapter.at) }, picture ? h("img", { src: picture, alt: "", loading: "lazy" }) : h("i"), h("span", null, chapter.title), h("span", { class: "muted small num" }, clock(chapter.at))));
    }))));
}

function timeCard() {
  const { wall_seconds: taken, predicted } = run.report, version = server.about?.version;
  return h("div", { class: "card" }, h("h2", null, t("time")), h("dl", { class: "kv" },
    h("div", null, h("dt", null, t("time.taken")), h("dd", null, duration(taken))),
    predicted && h("div", null, h("dt", null, t("time.predicted")), h("dd", null, duration(predicted.wall_seconds), run.report.film && ` ${t("plus.film")}`)),
    h("div", null, h("dt", null, t("scenes")), h("dd", null, String(run.job.scenes))),
    version && h("div", null, h("dt", null, t("version")), h("dd", null, version))));
}
